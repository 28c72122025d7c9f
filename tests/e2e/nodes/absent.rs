//! Events of other nodes for clients whose service is down, and for clients that are absent.

use super::{MIRROR, Nodes};
use crate::support::{Way, json, token};

#[tokio::test]
async fn a_client_whose_own_service_is_down_hears_the_others_at_once() {
    for way in Way::ALL {
        let mut nodes = Nodes::start().await;
        let (near, far) = (nodes.a.client(token("ada")).await, nodes.b.client_by(way, token("ada")).await);
        far.travels_by(way.transport()).await;
        nodes.service_b.kill().await;
        nodes.b.counts(1.0, "tidegate_held_sessions", &[]).await;

        for number in 0..3 {
            nodes.service_a.emit("ada", "tutor:message", json!([number])).await;
            assert_eq!(near.next("tutor:message").await, json!([number]));
            assert_eq!(far.next("tutor:message").await, json!([number]), "{way:?}: while it is held");
        }
        nodes.b.counts(1.0, "tidegate_held_sessions", &[]).await;

        nodes.service_b.restart().await;
        nodes.b.counts(0.0, "tidegate_held_sessions", &[]).await;
        nodes.service_a.emit("ada", "tutor:message", json!([3])).await;
        for client in [&near, &far] {
            assert_eq!(client.next("tutor:message").await, json!([3]), "{way:?}: its room is as it was");
        }
        assert_eq!(far.ask("echo", json!(["again"])).await, "again", "{way:?}: the service knows it");
        nodes.service_b.emit("ada", "tutor:message", json!([4])).await;
        for client in [&near, &far] {
            assert_eq!(client.next("tutor:message").await, json!([4]), "{way:?}");
            assert_eq!((client.untaken("tutor:message"), client.untaken("disconnect")), (0, 0), "{way:?}");
        }
    }
}

#[tokio::test]
async fn a_client_that_was_cut_gets_the_events_of_other_nodes_when_it_is_back_and_once() {
    for way in Way::ALL {
        let nodes = Nodes::with(&format!("session.resume = \"1m\"\n{MIRROR}")).await;
        let near = nodes.a.client(token("ada")).await;
        let mut options = way.options();
        options["reconnection"] = false.into();
        let far = nodes.b.connect_with(json!({ "token": token("ada") }), options).await;
        let socket = far.connected().await;
        far.travels_by(way.transport()).await;
        nodes.service_a.emit("ada", "tutor:message", json!(["before"])).await;
        assert_eq!(far.next("tutor:message").await[0], "before");

        far.cut().await;
        nodes.b.counts(1.0, "tidegate_absent_sessions", &[]).await;
        for number in 0..5 {
            nodes.service_a.emit("ada", "tutor:message", json!([number, { "$binary": "AQID" }])).await;
        }
        nodes.emitter.all().volatile().emit("fleeting", json!([])).await;
        nodes.b.counts(5.0, "tidegate_deliveries_total", &[("result", "kept")]).await;
        nodes.b.counts(1.0, "tidegate_deliveries_total", &[("result", "dropped_absent")]).await;

        far.disconnected().await;
        far.connect_again().await;
        assert_eq!(far.connected().await, socket, "{way:?}: it is the same socket");
        assert!(far.recovered().await, "{way:?}");
        nodes.service_a.emit("ada", "tutor:message", json!(["after"])).await;
        for number in 0..5 {
            let heard = far.next("tutor:message").await;
            // Behind them is the place up to which the client has heard all.
            assert_eq!((&heard[0], &heard[1]), (&json!(number), &json!({ "$binary": "AQID" })), "{way:?}");
        }
        assert_eq!(far.next("tutor:message").await[0], "after", "{way:?}");
        nodes.settled(7, &[&near, &far]).await;
        assert_eq!((far.untaken("tutor:message"), far.untaken("fleeting")), (0, 0), "{way:?}: none comes twice");
    }
}
