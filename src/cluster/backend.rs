//! How messages are published, and which channels a node hears: classic pub/sub, sharded pub/sub, or a stream.

use std::sync::Arc;

use redis::{Cmd, RedisResult, cmd};

use crate::{
    cluster::{
        connection::Connection,
        envelope::{Envelope, Topic},
        frame,
        rules::RedisRules,
        table::BackendKind,
    },
    wire::redis_adapter::channel,
};

/// The fields of an entry of the stream: who published it, ...
pub(super) const PUBLISHER: &str = "publisher";
/// ... as which of its messages, counted from 1, ...
pub(super) const SEQUENCE: &str = "sequence";
/// ... and what.
pub(super) const MESSAGE: &str = "message";

/// One way of publishing, with its names.
#[derive(Debug)]
pub(super) struct Backend {
    kind: BackendKind,
    key: Arc<str>,
    prefix: Arc<str>,
    stream_length: u32,
    /// This start of the node.
    publisher: u64,
    /// The sequence of the last message.
    sequence: u64,
}

impl Backend {
    /// `publisher`: a number that no other start of a node has.
    pub(super) fn new(rules: &RedisRules, publisher: u64) -> Self {
        let RedisRules { backend: kind, stream_length, .. } = *rules;
        let (key, prefix) = (Arc::clone(&rules.key), Arc::clone(&rules.prefix));
        Self { kind, key, prefix, stream_length, publisher, sequence: 0 }
    }

    /// The command that publishes a message.
    pub(super) fn command(&mut self, envelope: Envelope) -> Cmd {
        match self.kind {
            BackendKind::Pubsub => {
                let channel = match &envelope.topic {
                    Topic::Broadcast { namespace, room } => channel::broadcast(&self.key, namespace, room.as_deref()),
                    Topic::Request { namespace } => channel::request(&self.key, namespace),
                };
                cmd("PUBLISH").arg(channel).arg(&*envelope.payload).take()
            }
            BackendKind::Sharded => cmd("SPUBLISH").arg(events(&self.prefix)).arg(frame::encode(envelope)).take(),
            BackendKind::Streams => {
                self.sequence += 1;
                let mut command = cmd("XADD");
                command.arg(stream(&self.prefix)).arg("MAXLEN").arg("~").arg(self.stream_length).arg("*");
                command.arg(PUBLISHER).arg(self.publisher).arg(SEQUENCE).arg(self.sequence);
                command.arg(MESSAGE).arg(frame::encode(envelope)).take()
            }
        }
    }

    /// Whether a message may be sent again after Redis did not answer.
    pub(super) const fn repeats(&self) -> bool {
        matches!(self.kind, BackendKind::Streams)
    }

    /// Hears all channels, each confirmed by Redis.
    pub(super) async fn subscribe(&self, connection: &mut Connection) -> RedisResult<()> {
        let patterns = [channel::broadcast_pattern(&self.key), channel::request_pattern(&self.key)];
        connection.psubscribe(&patterns).await?;
        connection.subscribe(&echo(&self.key, self.publisher)).await?;
        if self.kind == BackendKind::Sharded {
            connection.ssubscribe(&[events(&self.prefix), sharded_echo(&self.prefix, self.publisher)]).await?;
        }
        Ok(())
    }

    /// Commands that send a number to ourselves, on every kind of channel that is heard.
    pub(super) fn echoes(&self, number: u64) -> Vec<Cmd> {
        let classic = cmd("PUBLISH").arg(echo(&self.key, self.publisher)).arg(number).take();
        let sharded = || cmd("SPUBLISH").arg(sharded_echo(&self.prefix, self.publisher)).arg(number).take();
        [classic].into_iter().chain((self.kind == BackendKind::Sharded).then(sharded)).collect()
    }
}

/// The channel on which nodes publish to each other.
pub(super) fn events(prefix: &str) -> String {
    format!("{prefix}events")
}

/// The stream in which they do.
pub(super) fn stream(prefix: &str) -> String {
    format!("{prefix}stream")
}

/// The channel on which a node hears itself. It has the slot of the first pattern: the library subscribes to the patterns at the
/// server of that slot, and whether that server is heard is what the channel is to show.
pub(super) fn echo(key: &str, publisher: u64) -> String {
    let pattern = channel::broadcast_pattern(key);
    let tag = hash_tag(&pattern).unwrap_or(&pattern);
    format!("tidegate:{{{tag}}}:echo:{publisher:016x}")
}

/// The same of the server that has the channel of the nodes.
pub(super) fn sharded_echo(prefix: &str, publisher: u64) -> String {
    format!("{prefix}echo:{publisher:016x}")
}

/// The part of a name by which a Cluster finds its slot. `None`: all of it.
fn hash_tag(name: &str) -> Option<&str> {
    let (_, rest) = name.split_once('{')?;
    let (tag, _) = rest.split_once('}')?;
    (!tag.is_empty()).then_some(tag)
}

#[cfg(test)]
mod tests {
    use redis::cluster_routing::{Route, SlotAddr};

    use super::*;
    use crate::cluster::table::{ClusterTable, RedisTable};

    fn published(kind: BackendKind, topic: Topic) -> Vec<String> {
        let table = RedisTable { backend: kind, ..RedisTable::default() };
        let rules =
            RedisRules::compile(&table, &ClusterTable { name: Some("app".to_owned()), ..ClusterTable::default() }, "")
                .unwrap();
        let mut backend = Backend::new(&rules, 7);
        let command = backend.command(Envelope { topic, payload: b"payload"[..].into() });
        let arguments = command.args_iter().map(|argument| match argument {
            redis::Arg::Simple(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        });
        arguments.collect()
    }

    #[test]
    fn a_node_hears_itself_at_the_server_that_has_its_patterns() {
        for (key, expected) in [
            ("socket.io", "tidegate:{socket.io#/*}:echo:0000000000000007"),
            ("{app}-io", "tidegate:{app}:echo:0000000000000007"),
        ] {
            let (echo, pattern) = (echo(key, 7), channel::broadcast_pattern(key));
            assert_eq!(echo, expected);
            let route = |name: &str| Route::with_key(name, SlotAddr::Master);
            assert_eq!(route(&echo), route(&pattern));
            assert_ne!(route(&echo), route("tidegate:{other}:echo:0000000000000007"));
        }
    }

    fn to_room() -> Topic {
        Topic::Broadcast { namespace: "/".into(), room: Some("r".into()) }
    }

    #[test]
    fn each_backend_has_its_command() {
        assert_eq!(published(BackendKind::Pubsub, to_room()), ["PUBLISH", "socket.io#/#r#", "payload"]);
        let request = Topic::Request { namespace: "/chat".into() };
        assert_eq!(published(BackendKind::Pubsub, request), ["PUBLISH", "socket.io-request#/chat#", "payload"]);
        assert_eq!(published(BackendKind::Sharded, to_room())[..2], ["SPUBLISH", "tidegate:{app}:events"]);
        let added = published(BackendKind::Streams, to_room());
        assert_eq!(added[..6], ["XADD", "tidegate:{app}:stream", "MAXLEN", "~", "10000", "*"]);
        assert_eq!(added[6..11], ["publisher", "7", "sequence", "1", "message"]);
    }
}
