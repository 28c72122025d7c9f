//! What comes from Redis, and what the workers are given of it.

use super::*;
use crate::{
    observe::mirror::MirrorFigures,
    relay::registry::{self, WorkerCommand, WorkerInbox},
    wire::{engineio::id::NodeId, redis_adapter::PAYLOAD_BYTES_MAX},
};

const OWN: &str = "tg0000000000000001";

/// A node of one worker, beside no adapter.
struct World {
    dispatch: Dispatch,
    inbox: WorkerInbox,
    standing: Standing,
    gauges: Arc<MirrorGauges>,
}

impl World {
    fn new() -> Self {
        let gauges = Arc::new(MirrorGauges::default());
        gauges.in_use();
        let standing = Standing::default();
        standing.checked(Some(Known::Alone));
        let (handle, inbox) = registry::channel();
        let registry = Registry::new(NodeId::new([1; 6]), vec![handle]);
        let dispatch = Dispatch::new(OWN.into(), registry, standing.clone(), Arc::clone(&gauges));
        Self { dispatch, inbox, standing, gauges }
    }

    /// What the worker is given of it.
    async fn take(&mut self, envelope: Envelope) -> Option<RoomCommand> {
        self.dispatch.take(envelope).await;
        self.given().await
    }

    async fn given(&mut self) -> Option<RoomCommand> {
        tokio::select! {
            biased;
            command = self.inbox.next() => match command {
                Some(WorkerCommand::Rooms(command)) => Some(command),
                other => panic!("{other:?}"),
            },
            () = std::future::ready(()) => None,
        }
    }

    fn figures(&self) -> MirrorFigures {
        self.gauges.figures().unwrap()
    }

    fn dropped(&self) -> Vec<((&'static str, &'static str), u64)> {
        self.figures().dropped.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    fn malformed(&self) -> Vec<(Option<&'static str>, u64)> {
        self.figures().malformed
    }
}

fn broadcast(uid: &str) -> Broadcast {
    Broadcast {
        uid: uid.into(),
        namespace: "/".into(),
        json: r#"["tutor:message",{"text":"hi"}]"#.into(),
        rooms: vec!["user:ada".into()],
        except: vec!["muted".into()],
        is_of_gate: uid.starts_with("tg"),
        ..Broadcast::default()
    }
}

fn on_channel(namespace: &str, payload: Vec<u8>) -> Envelope {
    let topic = Topic::Broadcast { namespace: namespace.into(), room: Some("user:ada".into()) };
    Envelope { topic, payload: payload.into() }
}

fn sent(broadcast: &Broadcast) -> Envelope {
    on_channel("/", broadcast.encode().unwrap())
}

fn asked(json: &str) -> Envelope {
    Envelope { topic: Topic::Request { namespace: "/chat".into() }, payload: json.to_owned().into() }
}

#[tokio::test]
async fn a_broadcast_of_another_gate_goes_to_the_clients_of_its_rooms() {
    let mut world = World::new();
    let Some(RoomCommand::Deliver(selection, delivery)) = world.take(sent(&broadcast("tg2"))).await else {
        panic!("it is delivered")
    };
    let expected = Selection { namespace: "/".into(), rooms: vec!["user:ada".into()], except: vec!["muted".into()] };
    assert_eq!(selection, expected);
    assert_eq!(delivery.json, r#"["tutor:message",{"text":"hi"}]"#);
    assert!(!delivery.is_volatile);
    assert_eq!(world.figures().received, [("gate", 1), ("emitter", 0), ("adapter", 0)]);
    assert_eq!(world.figures().delivered, 1);
}

#[tokio::test]
async fn attachments_and_the_flag_volatile_are_kept() {
    let mut world = World::new();
    let binary = Broadcast {
        json: r#"["bin",{"_placeholder":true,"num":0}]"#.into(),
        attachments: vec![vec![1, 2, 255]],
        is_volatile: true,
        ..broadcast(EMITTER)
    };
    let Some(RoomCommand::Deliver(_, delivery)) = world.take(sent(&binary)).await else { panic!("it is delivered") };
    assert_eq!(delivery.attachments, [&[1, 2, 255][..]]);
    assert!(delivery.is_volatile);
}

#[tokio::test]
async fn what_this_node_has_published_itself_is_ignored() {
    let mut world = World::new();
    assert!(world.take(sent(&broadcast(OWN))).await.is_none());
    assert_eq!(world.figures().received, [("gate", 0), ("emitter", 0), ("adapter", 0)]);
    assert_eq!(world.dropped(), []);
}

#[tokio::test]
async fn requests_of_the_emitter_are_done_and_others_are_ignored() {
    let mut world = World::new();
    let join = world.take(asked(r#"{"type":2,"opts":{"rooms":["a"],"except":["b"]},"rooms":["c"]}"#)).await;
    let Some(RoomCommand::Join(selection, rooms)) = join else { panic!("{join:?}") };
    let expected = Selection { namespace: "/chat".into(), rooms: vec!["a".into()], except: vec!["b".into()] };
    assert_eq!((selection, rooms), (expected.clone(), vec!["c".into()]));
    let leave = world.take(asked(r#"{"type":3,"opts":{"rooms":["a"],"except":["b"]},"rooms":["c"]}"#)).await;
    assert!(matches!(leave, Some(RoomCommand::Leave(selection, _)) if selection == expected));
    let disconnect = world.take(asked(r#"{"type":4,"opts":{"rooms":["a"],"except":["b"]},"close":true}"#)).await;
    assert!(matches!(disconnect, Some(RoomCommand::Disconnect(selection, true)) if selection == expected));
    let guard = world.standing.clone();
    let looks = tokio::spawn(async move {
        guard.wanted().await;
        guard.checked(Some(Known::Alone));
    });
    for ignored in [
        r#"{"type":6,"uid":"emitter","data":["hello"]}"#,
        r#"{"type":5,"uid":"abcdef","requestId":"r","opts":{"rooms":[],"except":[]}}"#,
    ] {
        assert!(world.take(asked(ignored)).await.is_none(), "{ignored}");
    }
    looks.await.unwrap();
    let requests = [("join", 1), ("leave", 1), ("disconnect", 1), ("server_side_emit", 1), ("question", 1)];
    assert_eq!(world.figures().requests, requests);
    assert_eq!(world.figures().delivered, 3);
}

#[tokio::test]
async fn garbage_is_counted_by_its_reason() {
    let mut world = World::new();
    let valid = broadcast(EMITTER).encode().unwrap();
    for garbage in [
        on_channel("/", b"PING".to_vec()),
        on_channel("/", Vec::new()),
        on_channel("/", vec![0x91; 1000]),
        on_channel("/", vec![0x93; PAYLOAD_BYTES_MAX + 1]),
        on_channel("/chat", valid),
        asked("{\"type\":2"),
        asked(""),
    ] {
        assert!(world.take(garbage).await.is_none());
    }
    assert_eq!(world.malformed().iter().map(|(_, count)| count).sum::<u64>(), 7);
    for reason in ["too_large", "other_namespace"] {
        assert!(world.malformed().contains(&(Some(reason), 1)), "{:?}", world.malformed());
    }
    assert_eq!(world.figures().delivered, 0);
}

#[tokio::test]
async fn nothing_is_delivered_beside_an_adapter_or_before_it_is_known_that_there_is_none() {
    let mut world = World::new();
    for (known, dropped) in [(Known::Adapter, "conflict"), (Known::Nothing, "unchecked")] {
        world.standing.checked(Some(known));
        assert!(world.take(sent(&broadcast("tg2"))).await.is_none());
        assert!(world.take(asked(r#"{"type":4,"opts":{"rooms":[],"except":[]},"close":true}"#)).await.is_none());
        assert!(world.dropped().contains(&(("in", dropped), 2)));
    }
    world.standing.checked(Some(Known::Alone));
    assert!(world.take(sent(&broadcast("tg2"))).await.is_some());
}

/// The service with the adapter delivers it itself, so the gate must not: not even the first one.
#[tokio::test]
async fn a_message_of_an_adapter_is_delivered_only_after_a_look_whether_it_serves_clients() {
    let mut world = World::new();
    let guard = world.standing.clone();
    let looks = async {
        guard.wanted().await;
        guard.checked(Some(Known::Adapter));
    };
    let (given, ()) = tokio::join!(world.take(sent(&broadcast("ODiCDc"))), looks);
    assert!(given.is_none());
    assert_eq!(world.dropped(), [(("in", "conflict"), 1)]);
    assert_eq!(world.figures().received, [("gate", 0), ("emitter", 0), ("adapter", 1)]);
}

#[tokio::test]
async fn a_worker_that_has_too_much_to_take_counts_a_drop() {
    let mut world = World::new();
    let large = Delivery::new("/", vec![b' '; 40 * 1024 * 1024].into(), Vec::new(), false);
    let command = RoomCommand::Deliver(Selection::default(), Arc::new(large));
    world.dispatch.deliver(&command);
    world.dispatch.deliver(&command);
    assert_eq!(world.dropped(), [(("in", "worker_full"), 1)]);
    assert!(world.given().await.is_some());
    world.dispatch.deliver(&command);
    assert_eq!(world.dropped(), [(("in", "worker_full"), 1)], "there is room again");
}

#[tokio::test]
async fn a_room_that_is_too_long_for_each_client_to_keep_is_joined_by_none() {
    let mut world = World::new();
    let join = |len: usize| {
        let room = "r".repeat(len);
        asked(&format!(r#"{{"type":2,"opts":{{"rooms":["a"],"except":[]}},"rooms":["{room}"]}}"#))
    };
    assert!(world.take(join(ROOM_MAX_BYTES)).await.is_some());
    assert!(world.take(join(ROOM_MAX_BYTES + 1)).await.is_none());
    assert_eq!(world.malformed(), [(Some("room_too_long"), 1)]);
}
