//! What is offered to other nodes on its way to a client.

use std::sync::{Arc, Mutex};

use super::{
    message::Message,
    world::{Way, play_beside},
};
use crate::{
    mirror::{rules::MirrorRules, table::MirrorTable},
    relay::outlet::{Offer, Outlet},
};

/// Remembers what it was offered, and which sessions have ended.
#[derive(Debug, Default)]
struct Recorder {
    offers: Mutex<Vec<Offer>>,
    ended: Mutex<Vec<u64>>,
}

impl Outlet for Recorder {
    fn offer(&self, offer: Offer) {
        self.offers.lock().unwrap().push(offer);
    }

    fn session_ended(&self, session: u64) {
        self.ended.lock().unwrap().push(session);
    }
}

fn rules() -> MirrorRules {
    let rule =
        |event: &str, room: &str| MirrorTable { event: event.into(), room: room.into(), ..MirrorTable::default() };
    MirrorRules::compile(&[], &[rule("news", "lesson:{arg0.id}"), rule("picture", "*")]).unwrap()
}

#[test]
fn an_event_that_is_mirrored_reaches_its_client_and_the_outlet() {
    for way in [Way::Websocket, Way::Polling(1000), Way::Upgrade(1)] {
        let recorder = Arc::new(Recorder::default());
        let text = "é".repeat(50_000);
        let news = format!(r#"["news",{{"id":5}},"{text}"]"#);
        let picture = r#"["picture",{"_placeholder":true,"num":0}]"#;
        let bytes = vec![7; 100_000];
        let says: Vec<Message> = vec![
            r#"42["other"]"#.into(),
            format!("42{news}").as_str().into(),
            format!("451-{picture}").as_str().into(),
            Message::Binary(bytes.clone()),
        ];
        let outcome = play_beside(Arc::clone(&recorder) as _, rules(), way, &["40".into()], &says, 5);
        assert_eq!(outcome.client[1..], says, "{way:?}");
        let offers = recorder.offers.lock().unwrap();
        let [Offer { session, event: first, .. }, Offer { event: second, .. }] = &offers[..] else {
            panic!("{way:?}: {offers:?}")
        };
        assert_eq!((first.rule, &*first.namespace, first.room.as_deref()), (0, "/", Some("lesson:5")));
        assert!(first.json == news.as_bytes() && first.attachments.is_empty());
        assert_eq!((second.rule, second.room.as_deref(), &second.json[..]), (1, None, picture.as_bytes()));
        assert!(second.attachments == [bytes]);
        assert_eq!(*recorder.ended.lock().unwrap(), [*session], "{way:?}");
    }
}

#[test]
fn the_outlet_does_not_hear_of_a_session_that_has_offered_nothing() {
    let recorder = Arc::new(Recorder::default());
    play_beside(Arc::clone(&recorder) as _, rules(), Way::Websocket, &["40".into()], &[r#"42["other"]"#.into()], 2);
    assert!(recorder.offers.lock().unwrap().is_empty() && recorder.ended.lock().unwrap().is_empty());
}
