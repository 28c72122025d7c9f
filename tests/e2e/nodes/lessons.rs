//! Clients join rooms by events of their own, once the service has said yes.

use std::cell::Cell;

use super::Nodes;
use crate::support::{Client, Redis, Service, Value, Way, http, json, token};

/// The service says `lesson:message` to a room of its own; the lesson is in the event.
const LESSONS: &str = r#"
[[room]]
name = "lesson:{arg0.lessonId}"
join_on = "lesson:join"
leave_on = "lesson:leave"
confirm = "ack"
[[mirror]]
event = "lesson:message"
room = "lesson:{arg0.lessonId}"
"#;

const JOINED: &str = "tidegate_rooms";

/// Two nodes, and a client on the first that is in a lesson: what the service of that node says to it is mirrored.
struct Lessons {
    nodes: Nodes,
    near: Client,
    said: Cell<usize>,
}

impl Lessons {
    async fn start() -> Self {
        let services = [Service::of("lessons.mjs").await, Service::of("lessons.mjs").await];
        let nodes = Nodes::of(Redis::start().await, services, LESSONS).await;
        let near = nodes.a.client(token("ada")).await;
        assert_eq!(asks(&near, "lesson:join", "1").await, json!({ "success": true }));
        Self { nodes, near, said: Cell::new(0) }
    }

    /// The service of the first node says this of a lesson, to the clients that are in lesson 1 there.
    async fn says(&self, lesson: &str, number: u32) {
        let body = json!({ "room": "lesson:1", "event": "lesson:message", "args": [said(lesson, number)] });
        http::post(&format!("{}/to", self.nodes.service_a.url()), &body).await;
        assert_eq!(self.near.next("lesson:message").await, json!([said(lesson, number)]));
        self.said.set(self.said.get() + 1);
    }

    /// Nothing of what was said has come to the client.
    async fn nothing_came_to(&self, client: &Client) {
        self.nodes.settled(self.said.get(), &[client]).await;
        assert_eq!(client.untaken("lesson:message"), 0);
    }
}

fn said(lesson: &str, number: u32) -> Value {
    json!({ "lessonId": lesson, "number": number })
}

async fn asks(client: &Client, event: &str, lesson: &str) -> Value {
    client.ask(event, json!([{ "lessonId": lesson }])).await
}

#[tokio::test]
async fn a_client_hears_of_a_room_from_the_ack_of_its_service_until_it_leaves() {
    let lessons = Lessons::start().await;
    for way in Way::ALL {
        let far = lessons.nodes.b.client_by(way, token("bob")).await;
        far.travels_by(way.transport()).await;
        lessons.says("1", 1).await;
        lessons.nothing_came_to(&far).await;

        assert_eq!(asks(&far, "lesson:join", "1").await, json!({ "success": true }));
        lessons.says("1", 2).await;
        assert_eq!(far.next("lesson:message").await, json!([said("1", 2)]), "{way:?}");

        assert_eq!(asks(&far, "lesson:leave", "1").await, json!({ "success": true }));
        lessons.says("1", 3).await;
        lessons.nothing_came_to(&far).await;
        far.disconnect().await;
    }
}

#[tokio::test]
async fn a_client_hears_of_the_rooms_that_it_is_in_and_of_no_other() {
    let lessons = Lessons::start().await;
    let far = lessons.nodes.b.client(token("bob")).await;
    for lesson in ["2", "3"] {
        asks(&far, "lesson:join", lesson).await;
    }
    for (number, lesson) in ["1", "2", "4", "3"].into_iter().enumerate() {
        lessons.says(lesson, number as u32).await;
    }
    assert_eq!(far.next("lesson:message").await, json!([said("2", 1)]));
    assert_eq!(far.next("lesson:message").await, json!([said("3", 3)]));
    lessons.nothing_came_to(&far).await;
}

#[tokio::test]
async fn a_client_whom_the_service_refuses_hears_nothing_of_the_room() {
    let lessons = Lessons::start().await;
    for way in Way::ALL {
        let far = lessons.nodes.b.client_by(way, token("bob")).await;
        let refusal = asks(&far, "lesson:join", "closed").await;
        assert_eq!(refusal, json!({ "error": "This lesson is closed" }));
        lessons.says("closed", 1).await;
        lessons.nodes.emitter.to("lesson:closed").emit("lesson:message", json!([said("closed", 2)])).await;
        lessons.nothing_came_to(&far).await;
        lessons.nodes.b.counts(1.0, JOINED, &[]).await;
        far.disconnect().await;
        lessons.nodes.b.counts(0.0, JOINED, &[]).await;
    }
}

/// The service lets it in all the same, and does not say so.
#[tokio::test]
async fn an_event_that_asks_for_no_ack_joins_no_room() {
    let lessons = Lessons::start().await;
    for way in Way::ALL {
        let far = lessons.nodes.b.client_by(way, token("bob")).await;
        far.send("lesson:join", json!([{ "lessonId": "1" }])).await;
        // The service has done that when it has answered this.
        asks(&far, "lesson:leave", "another").await;
        lessons.says("1", 1).await;
        lessons.nothing_came_to(&far).await;
        lessons.nodes.b.counts(1.0, JOINED, &[]).await;
        far.disconnect().await;
        lessons.nodes.b.counts(0.0, JOINED, &[]).await;
    }
}
