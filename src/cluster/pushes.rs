//! What Redis sends without being asked: messages of channels, and the end of a subscription or a connection.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use bytes::Bytes;
use redis::{PushInfo, PushKind, Value};
use tokio::sync::Notify;

use crate::{
    cluster::{
        backend,
        envelope::{Envelope, Topic},
        frame,
        queue::Feeder,
        rules::RedisRules,
    },
    wire::redis_adapter::channel::{self, Named},
};

/// Takes the pushes of one connection. The library calls it on its own task, so it never waits.
#[derive(Debug)]
pub(super) struct Pushes {
    key: Arc<str>,
    events: String,
    /// Where the node hears itself, on classic and on sharded channels.
    echoes: [String; 2],
    feeder: Feeder,
    /// Messages are taken from the first subscription until the connection is given up: it may live on in other hands.
    open: AtomicBool,
    end: OnceLock<&'static str>,
    ended: Notify,
    /// The last number that came back, on classic and on sharded channels.
    heard: [AtomicU64; 2],
    hears: Notify,
}

impl Pushes {
    /// For one connection of this node.
    pub(super) fn new(rules: &RedisRules, publisher: u64, feeder: Feeder) -> Arc<Self> {
        Arc::new(Self {
            key: Arc::clone(&rules.key),
            events: backend::events(&rules.prefix),
            echoes: [backend::echo(&rules.key, publisher), backend::sharded_echo(&rules.prefix, publisher)],
            feeder,
            open: AtomicBool::new(false),
            end: OnceLock::new(),
            ended: Notify::new(),
            heard: Default::default(),
            hears: Notify::new(),
        })
    }

    /// Takes messages from now on, or no longer.
    pub(super) fn set_open(&self, open: bool) {
        self.open.store(open, Relaxed);
    }

    /// Takes what Redis sends.
    pub(super) fn take(&self, info: PushInfo) {
        if !self.open.load(Relaxed) {
            return;
        }
        let PushInfo { kind, data } = info;
        match kind {
            PushKind::PMessage => {
                if let Ok([_, Value::BulkString(channel), Value::BulkString(payload)]) = <[Value; 3]>::try_from(data) {
                    self.classic(&channel, payload);
                }
            }
            PushKind::Message => {
                if let Ok([Value::BulkString(channel), Value::BulkString(payload)]) = <[Value; 2]>::try_from(data) {
                    self.echo(0, &channel, &payload);
                }
            }
            PushKind::SMessage => {
                if let Ok([Value::BulkString(channel), Value::BulkString(payload)]) = <[Value; 2]>::try_from(data) {
                    self.sharded(&channel, &payload);
                }
            }
            PushKind::Disconnection => {
                self.end("the connection was closed; has Redis restarted, or was this client killed?")
            }
            PushKind::Unsubscribe | PushKind::PUnsubscribe | PushKind::SUnsubscribe => {
                self.end("Redis ended a subscription; a slot has moved to another server, perhaps");
            }
            _ => {}
        }
    }

    fn classic(&self, channel: &[u8], payload: Vec<u8>) {
        let topic = match std::str::from_utf8(channel).ok().and_then(|name| channel::parse(&self.key, name)) {
            Some(Named::Broadcast { namespace, room }) => {
                Topic::Broadcast { namespace: namespace.into(), room: room.map(Into::into) }
            }
            Some(Named::Request { namespace }) => Topic::Request { namespace: namespace.into() },
            Some(Named::Response) | None => return,
        };
        self.feeder.push(Envelope { topic, payload: Bytes::from(payload) });
    }

    fn sharded(&self, channel: &[u8], payload: &[u8]) {
        if channel == self.events.as_bytes() {
            if let Some(envelope) = frame::decode(payload) {
                self.feeder.push(envelope);
            }
        } else {
            self.echo(1, channel, payload);
        }
    }

    fn echo(&self, kind: usize, channel: &[u8], payload: &[u8]) {
        if channel != self.echoes[kind].as_bytes() {
            return;
        }
        let number = std::str::from_utf8(payload).ok().and_then(|number| number.parse().ok());
        self.heard[kind].fetch_max(number.unwrap_or_default(), Relaxed);
        self.hears.notify_one();
    }

    fn end(&self, why: &'static str) {
        let _ = self.end.set(why);
        self.ended.notify_one();
    }

    /// Whether this number has come back on so many kinds of channels.
    pub(super) fn has_heard(&self, number: u64, kinds: usize) -> bool {
        self.heard.iter().take(kinds).all(|heard| heard.load(Relaxed) >= number)
    }

    /// Waits until some number comes back.
    pub(super) async fn hears(&self) {
        self.hears.notified().await;
    }

    /// Waits until the subscriptions have ended. Returns why.
    pub(super) async fn ended(&self) -> &'static str {
        loop {
            if let Some(why) = self.end.get() {
                return why;
            }
            self.ended.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{
        queue::{Bounds, Inbound},
        table::{ClusterTable, RedisTable},
    };

    fn pushes() -> (Arc<Pushes>, Inbound) {
        let rules = RedisRules::compile(&RedisTable::default(), &ClusterTable::default(), "app").unwrap();
        let (feeder, inbound) = Inbound::new(Bounds { messages: 9, bytes: 9999, age: None }, Arc::default());
        let pushes = Pushes::new(&rules, 1, feeder);
        pushes.set_open(true);
        (pushes, inbound)
    }

    fn push(kind: PushKind, data: &[&str]) -> PushInfo {
        PushInfo { kind, data: data.iter().map(|text| Value::BulkString(text.as_bytes().to_vec())).collect() }
    }

    #[tokio::test]
    async fn messages_of_the_adapter_are_taken_with_their_topic() {
        let (pushes, mut inbound) = pushes();
        for channel in ["socket.io#/#r#", "socket.io-response#/#", "other", "socket.io-request#/chat#", "socket.io#/#"]
        {
            pushes.take(push(PushKind::PMessage, &["pattern", channel, "payload"]));
        }
        pushes.take(push(PushKind::PMessage, &["too few"]));
        let broadcast = |room: Option<&str>| Topic::Broadcast { namespace: "/".into(), room: room.map(Into::into) };
        for topic in [broadcast(Some("r")), Topic::Request { namespace: "/chat".into() }, broadcast(None)] {
            assert_eq!(inbound.recv().await.unwrap().topic, topic);
        }
    }

    #[tokio::test]
    async fn a_connection_that_was_given_up_delivers_nothing_more() {
        let (pushes, mut inbound) = pushes();
        pushes.set_open(false);
        pushes.take(push(PushKind::PMessage, &["pattern", "socket.io#/#", "late"]));
        drop(pushes);
        assert_eq!(inbound.recv().await, None);
    }

    #[tokio::test]
    async fn the_end_of_a_subscription_is_the_end() {
        let (pushes, _inbound) = pushes();
        pushes.take(push(PushKind::SUnsubscribe, &["tidegate:{app}:events"]));
        assert!(pushes.ended().await.contains("subscription"));
    }

    #[test]
    fn a_number_is_heard_on_our_own_channel_only() {
        let (pushes, _inbound) = pushes();
        pushes.take(push(PushKind::Message, &["tidegate:{socket.io#/*}:echo:0000000000000002", "5"]));
        assert!(!pushes.has_heard(5, 1));
        pushes.take(push(PushKind::Message, &["tidegate:{socket.io#/*}:echo:0000000000000001", "5"]));
        assert!(pushes.has_heard(5, 1) && !pushes.has_heard(5, 2) && !pushes.has_heard(6, 1));
        pushes.take(push(PushKind::SMessage, &["tidegate:{app}:echo:0000000000000001", "5"]));
        assert!(pushes.has_heard(5, 2));
    }
}
