//! One table of conversations, over every way that a client can come: the session does not know which it is.

mod delayed;
mod deliveries;
mod message;
mod offers;
pub(in crate::relay) mod world;

use proptest::prelude::*;

use self::{
    message::Message,
    world::{Way, play},
};

const WAYS: [Way; 7] = [
    Way::Websocket,
    Way::Polling(1),
    Way::Polling(1000),
    Way::Upgrade(1),
    Way::Upgrade(2),
    Way::Upgrade(3),
    Way::Upgrade(5),
];

const RATE_LIMITED: &str = r#"{"error":"Rate limit exceeded. Please slow down.","rateLimited":true}"#;

struct Case {
    name: &'static str,
    /// Events that may pass.
    messages: u32,
    client: Vec<Message>,
    /// What the service says by itself to a client that has joined.
    says: Vec<Message>,
    /// What reaches the service.
    service_gets: Vec<Message>,
    /// What reaches the client, in any order of what the gate and the service say.
    client_gets: Vec<Message>,
    ends: bool,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            name: "",
            messages: 100,
            client: Vec::new(),
            says: Vec::new(),
            service_gets: Vec::new(),
            client_gets: Vec::new(),
            ends: false,
        }
    }
}

fn texts(texts: &[&str]) -> Vec<Message> {
    texts.iter().map(|text| Message::from(*text)).collect()
}

fn refused(id: u32) -> Message {
    Message::Text(format!("43{id}[{RATE_LIMITED}]"))
}

/// Everything goes through.
fn passes(name: &'static str, client: Vec<Message>, client_gets: Vec<Message>) -> Case {
    Case { name, service_gets: client.clone(), client, client_gets, ..Case::default() }
}

/// The last packet ends the session, and does not reach the service.
fn ends(name: &'static str, client: &[&str]) -> Case {
    let mut service_gets = texts(client);
    service_gets.pop();
    Case {
        name,
        client: texts(client),
        service_gets,
        client_gets: texts(&[r#"40{"sid":"x"}"#]),
        ends: true,
        ..Case::default()
    }
}

/// What simply passes.
fn conversations() -> Vec<Case> {
    let joined = r#"40{"sid":"x"}"#;
    let picture = r#"451-7["picture",{"_placeholder":true,"num":0}]"#;
    let large = format!(r#"42["large","{}"]"#, "é".repeat(50_000));
    let attachment = Message::Binary((0..100_000).map(|n: u32| n.to_le_bytes()[0]).collect());
    vec![
        passes("a client joins", texts(&["40"]), texts(&[joined])),
        passes(
            "events with and without ack",
            texts(&["40", r#"42["a"]"#, r#"420["b",{"c":1}]"#, r#"421["d","∴"]"#]),
            texts(&[joined, r#"430["ok"]"#, r#"431["ok"]"#]),
        ),
        passes(
            "a second namespace",
            texts(&["40", "40/chat,", r#"42/chat,3["a"]"#, "41/chat,"]),
            texts(&[joined, r#"40/chat,{"sid":"x"}"#, r#"43/chat,3["ok"]"#]),
        ),
        passes("a large text", vec!["40".into(), large.as_str().into()], texts(&[joined])),
        passes(
            "attachments, small and large",
            vec!["40".into(), picture.into(), Message::Binary(Vec::new()), picture.into(), attachment.clone()],
            texts(&[joined, r#"437["ok"]"#, r#"437["ok"]"#]),
        ),
        Case {
            name: "what the service says by itself",
            client: texts(&["40"]),
            says: vec![
                r#"42["a"]"#.into(),
                large.as_str().into(),
                r#"451-["b",{"_placeholder":true,"num":0}]"#.into(),
                attachment.clone(),
            ],
            service_gets: texts(&["40"]),
            client_gets: vec![
                joined.into(),
                r#"42["a"]"#.into(),
                large.as_str().into(),
                r#"451-["b",{"_placeholder":true,"num":0}]"#.into(),
                attachment,
            ],
            ..Case::default()
        },
    ]
}

/// What the gate decides on the way.
fn judged() -> Vec<Case> {
    let joined = r#"40{"sid":"x"}"#;
    vec![
        Case {
            name: "one refused among those allowed, and its attachment with it",
            messages: 3,
            client: vec![
                "40".into(),
                r#"421["a"]"#.into(),
                r#"422["b"]"#.into(),
                r#"42["c"]"#.into(),
                r#"451-8["d",{"_placeholder":true,"num":0}]"#.into(),
                Message::Binary(vec![1, 2, 3]),
                r#"429["e"]"#.into(),
            ],
            service_gets: texts(&["40", r#"421["a"]"#, r#"422["b"]"#, r#"42["c"]"#]),
            client_gets: vec![joined.into(), r#"431["ok"]"#.into(), r#"432["ok"]"#.into(), refused(8), refused(9)],
            ..Case::default()
        },
        Case {
            name: "an ack that nobody asked for goes no further",
            client: texts(&["40", "430[]", r#"421["a"]"#]),
            service_gets: texts(&["40", r#"421["a"]"#]),
            client_gets: texts(&[joined, r#"431["ok"]"#]),
            ..Case::default()
        },
        passes("the answer to what the service asks", texts(&["40", "437[1]"]), texts(&[joined, r#"427["q"]"#]))
            .asked(),
        Case {
            name: "heartbeats are the gate's own",
            client: texts(&["40", "3", r#"421["a"]"#, "3"]),
            service_gets: texts(&["40", r#"421["a"]"#]),
            client_gets: texts(&[joined, r#"431["ok"]"#]),
            ..Case::default()
        },
    ]
}

/// For what a session ends.
fn ends_of_sessions() -> Vec<Case> {
    vec![
        ends("a packet that is no client's", &["40", r#"42 ["spaced"]"#]),
        ends("a namespace that was not joined", &["40", r#"42/other,["a"]"#]),
        ends("CONNECT twice", &["40", "40"]),
        ends("an attachment of nothing", &["40", r#"451-["b",{}]"#, r#"42["text instead"]"#]).without_last(1),
        ends("no such packet of Engine.IO", &["40", "9"]),
        ends("a ping from a client", &["40", "2"]),
        ends("an empty packet", &["40", ""]),
        ends("a close", &["40", "1"]),
    ]
}

impl Case {
    /// The service asks for an ack as soon as the client has joined.
    fn asked(mut self) -> Self {
        self.says = texts(&[r#"427["q"]"#]);
        self
    }

    /// Of what was to reach the service the last so many do not: they wait for what never comes.
    fn without_last(mut self, count: usize) -> Self {
        self.service_gets.truncate(self.service_gets.len() - count);
        self
    }
}

#[test]
fn every_conversation_is_the_same_whatever_carries_it() {
    for case in conversations().into_iter().chain(judged()).chain(ends_of_sessions()) {
        for way in WAYS {
            let mut outcome = play(way, &case.client, &case.says, case.messages, case.client_gets.len());
            assert_eq!(outcome.service, case.service_gets, "{}: what the service gets, {way:?}", case.name);
            assert_eq!(outcome.ended, case.ends, "{}: whether it ends, {way:?}", case.name);
            let mut expected = case.client_gets.clone();
            outcome.client.sort();
            expected.sort();
            assert_eq!(outcome.client, expected, "{}: what the client gets, {way:?}", case.name);
        }
    }
}

fn packet() -> impl Strategy<Value = Vec<Message>> {
    let len = prop_oneof![0..200_usize, 900..1200_usize, 60_000..70_000_usize];
    prop_oneof![
        (0..900_u32).prop_map(|id| vec![Message::Text(format!(r#"42{id}["asks"]"#))]),
        len.clone().prop_map(|len| vec![Message::Text(format!(r#"42["says","{}"]"#, "x".repeat(len)))]),
        (len, any::<u8>()).prop_map(|(len, byte)| {
            vec![Message::from(r#"451-["shows",{"_placeholder":true,"num":0}]"#), Message::Binary(vec![byte; len])]
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn nothing_is_lost_doubled_or_out_of_order_wherever_the_client_goes_over(
        client in prop::collection::vec(packet(), 0..12),
        says in prop::collection::vec(packet(), 0..6),
        way in prop_oneof![(1..9_usize).prop_map(Way::Polling), (1..14_usize).prop_map(Way::Upgrade)],
    ) {
        let client: Vec<Message> = [vec![Message::from("40")]].into_iter().chain(client).flatten().collect();
        // What asks here asks the client, which does not answer.
        let says: Vec<Message> = says.into_iter().flatten().collect();
        let expected = play(Way::Websocket, &client, &says, 1000, 0);
        prop_assert_eq!(&expected.service, &client, "over a websocket everything arrives");
        prop_assert_eq!(play(way, &client, &says, 1000, 0), expected);
    }
}
