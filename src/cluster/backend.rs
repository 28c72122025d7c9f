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
        let echo = echo(&self.prefix, self.publisher);
        let patterns = [channel::broadcast_pattern(&self.key), channel::request_pattern(&self.key)];
        connection.psubscribe(&patterns).await?;
        connection.subscribe(&echo).await?;
        if self.kind == BackendKind::Sharded {
            connection.ssubscribe(&[events(&self.prefix), echo]).await?;
        }
        Ok(())
    }

    /// Commands that send a number to ourselves, on every kind of channel that is heard.
    pub(super) fn echoes(&self, number: u64) -> Vec<Cmd> {
        let kinds: &[&str] = if self.kind == BackendKind::Sharded { &["PUBLISH", "SPUBLISH"] } else { &["PUBLISH"] };
        kinds.iter().map(|kind| cmd(kind).arg(echo(&self.prefix, self.publisher)).arg(number).take()).collect()
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

/// The channel on which a node hears itself.
pub(super) fn echo(prefix: &str, publisher: u64) -> String {
    format!("{prefix}echo:{publisher:016x}")
}

#[cfg(test)]
mod tests {
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
