//! Reads the stream of the backend `streams`, on a connection of its own, because reading waits.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use redis::{
    FromRedisValue, RedisError, RedisResult, Value, cmd,
    streams::{StreamId, StreamRangeReply, StreamReadReply},
};
use tokio::sync::watch;

use crate::{
    cluster::{
        advice::{Advice, Complaints},
        backend::{self, MESSAGE, PUBLISHER, SEQUENCE},
        connection::Connection,
        frame,
        open::open,
        pace::Pace,
        publishers::{Publishers, Reading},
        queue::Feeder,
        rules::RedisRules,
    },
    observe::{
        journal::{self, LogLevel},
        redis::{Dropped, RedisGauges},
    },
};

/// Entries of one answer, each of which may have [`PAYLOAD_BYTES_MAX`](crate::wire::redis_adapter::PAYLOAD_BYTES_MAX).
const COUNT: u32 = 32;

/// How long Redis waits for an entry before it answers that there is none.
const BLOCK: Duration = Duration::from_millis(1000);

/// How long an answer may take beyond that.
const PATIENCE: Duration = Duration::from_millis(1000);

/// A position before all entries.
const BEGINNING: &str = "0-0";

/// The reader of the stream.
pub(super) struct Reader {
    rules: RedisRules,
    stream: String,
    /// Our own entries are left out.
    publisher: u64,
    feeder: Feeder,
    gauges: Arc<RedisGauges>,
    /// The last entry that was read. `None` before the first connection: what is older was not for this node.
    position: Option<String>,
    publishers: Publishers,
    /// Why the stream is not read. `None`: it is.
    state: watch::Sender<Option<String>>,
}

impl Reader {
    pub(super) fn new(rules: RedisRules, publisher: u64, feeder: Feeder, gauges: Arc<RedisGauges>) -> Self {
        let (stream, state) = (backend::stream(&rules.prefix), watch::channel(Some("not connected yet".to_owned())).0);
        Self { rules, stream, publisher, feeder, gauges, position: None, publishers: Publishers::default(), state }
    }

    /// Why the stream is not read. `None`: it is.
    pub(super) fn state(&self) -> watch::Receiver<Option<String>> {
        self.state.subscribe()
    }

    /// Reads for ever.
    pub(super) async fn run(mut self) {
        let (mut pace, mut complaints) = (Pace::default(), Complaints::default());
        loop {
            let began = Instant::now();
            let told = match open(&self.rules, None, BLOCK + PATIENCE).await {
                Ok(mut connection) => {
                    let error = self.read(&mut connection).await;
                    Advice::of(&error, &self.rules)
                }
                Err(error) => Advice::of_open(&error, &self.rules),
            };
            self.state.send_replace(Some(told.sentence.clone()));
            if complaints.admit(&told, Instant::now()) {
                let line = format!("the stream at Redis {} is not read: {}", self.rules.place(), told.sentence);
                journal::line(LogLevel::Warn, &line);
            }
            pace.wait(began.elapsed()).await;
        }
    }

    /// Reads until the connection is of no use.
    async fn read(&mut self, connection: &mut Connection) -> RedisError {
        connection.set_name(self.publisher, &self.rules.prefix).await;
        let mut position = match self.start(connection).await {
            Ok(position) => position,
            Err(error) => return error,
        };
        self.state.send_replace(None);
        loop {
            self.position = Some(position.clone());
            match self.next(connection, &position).await {
                Ok(entries) => {
                    for entry in entries {
                        // The stream keeps what is not read yet.
                        self.feeder.room().await;
                        self.take(&entry.map);
                        position = entry.id;
                    }
                }
                Err(error) => return error,
            }
        }
    }

    /// Where to read on.
    async fn start(&self, connection: &mut Connection) -> RedisResult<String> {
        let mut last = cmd("XREVRANGE");
        last.arg(&self.stream).arg("+").arg("-").arg("COUNT").arg(1);
        let last: StreamRangeReply = last.query_async(connection).await?;
        let last = last.ids.into_iter().next().map_or_else(|| BEGINNING.to_owned(), |entry| entry.id);
        Ok(match &self.position {
            // Where Redis has lost the end of the stream, what is new comes behind what it still has.
            Some(position) if number(position) <= number(&last) => position.clone(),
            _ => last,
        })
    }

    async fn next(&self, connection: &mut Connection, position: &str) -> RedisResult<Vec<StreamId>> {
        let mut read = cmd("XREAD");
        read.arg("COUNT").arg(COUNT).arg("BLOCK").arg(BLOCK.as_millis() as u64);
        read.arg("STREAMS").arg(&self.stream).arg(position);
        let reply: Option<StreamReadReply> = read.query_async(connection).await?;
        Ok(reply.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids).collect())
    }

    fn take(&mut self, fields: &HashMap<String, Value>) {
        let Some((publisher, sequence)) = field(fields, PUBLISHER).zip(field(fields, SEQUENCE)) else { return };
        if publisher == self.publisher {
            return;
        }
        if let Reading::New { missed } = self.publishers.read(publisher, sequence) {
            self.gauges.dropped(Dropped::InMissed, missed);
            let Some(Value::BulkString(message)) = fields.get(MESSAGE) else { return };
            if let Some(envelope) = frame::decode(message) {
                self.feeder.push(envelope);
            }
        }
    }
}

fn field(fields: &HashMap<String, Value>, name: &str) -> Option<u64> {
    u64::from_redis_value_ref(fields.get(name)?).ok()
}

/// The id of an entry as something that can be compared.
fn number(id: &str) -> Option<(u64, u64)> {
    let (time, sequence) = id.split_once('-')?;
    Some((time.parse().ok()?, sequence.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{
        envelope::{Envelope, Topic},
        queue::{Bounds, Inbound},
        table::{ClusterTable, RedisTable},
    };

    fn entry(publisher: u64, sequence: u64, payload: &'static [u8]) -> HashMap<String, Value> {
        let envelope = Envelope { topic: Topic::Request { namespace: "/".into() }, payload: payload.into() };
        let text = |number: u64| Value::BulkString(number.to_string().into_bytes());
        HashMap::from([
            (PUBLISHER.to_owned(), text(publisher)),
            (SEQUENCE.to_owned(), text(sequence)),
            (MESSAGE.to_owned(), Value::BulkString(frame::encode(envelope))),
        ])
    }

    #[tokio::test]
    async fn entries_of_others_are_read_once_and_gaps_are_counted() {
        let rules = RedisRules::compile(&RedisTable::default(), &ClusterTable::default(), "app").unwrap();
        let gauges = Arc::new(RedisGauges::default());
        let (feeder, mut inbound) = Inbound::new(Bounds { messages: 9, bytes: 9999, age: None }, Arc::clone(&gauges));
        let mut reader = Reader::new(rules, 1, feeder, Arc::clone(&gauges));
        for entry in [entry(2, 1, b"a"), entry(1, 1, b"own"), entry(2, 1, b"a"), entry(2, 4, b"b"), HashMap::new()] {
            reader.take(&entry);
        }
        drop(reader);
        let mut payloads = Vec::new();
        while let Some(envelope) = inbound.recv().await {
            payloads.push(envelope.payload);
        }
        assert_eq!(payloads, [&b"a"[..], b"b"]);
        assert_eq!(gauges.count(Dropped::InMissed), 2);
    }

    #[test]
    fn ids_are_compared_as_numbers() {
        assert!(number("99-10") < number("100-2"));
        assert!(number(BEGINNING) < number("0-1"));
    }
}
