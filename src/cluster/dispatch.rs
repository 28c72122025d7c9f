//! Passes messages from Redis to the clients of this node. They never go to the service, so a gate cannot mirror them again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    cluster::{
        envelope::{Envelope, Topic},
        queue::Inbound,
        standing::{Known, Standing},
    },
    mirror::template::ROOM_MAX_BYTES,
    observe::{
        journal::{self, LogLevel},
        mirror::{Dropped, MirrorGauges, NodeRequest, Sender},
    },
    relay::{
        registry::Registry,
        room_command::{RoomCommand, Selection},
    },
    session::delivery::Delivery,
    wire::redis_adapter::{
        broadcast::Broadcast,
        request::{Request, Sockets},
    },
};

/// What `@socket.io/redis-emitter` calls itself.
const EMITTER: &str = "emitter";

/// How often a message of an adapter makes the gate look for it, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// So much of a message that is none of the adapter's is in the log: enough to see its format.
const SHOWN_BYTES: usize = 16;

/// So much of the name of its namespace.
const SHOWN_CHARS: usize = 64;

/// Reads what came, and hands it to the workers.
#[derive(Debug)]
pub(super) struct Dispatch {
    uid: Arc<str>,
    registry: Registry,
    standing: Standing,
    gauges: Arc<MirrorGauges>,
    /// When it was last looked for an adapter because of a message.
    looked: Option<Instant>,
    has_told_of_server_side_emit: bool,
}

/// What a message says.
#[derive(Debug)]
struct Message {
    /// Only a service with an adapter publishes it.
    is_of_adapter: bool,
    /// `None`: there is nothing to do for a gate.
    command: Option<RoomCommand>,
}

impl Dispatch {
    /// `uid`: by which this node knows what it has published itself.
    pub(super) const fn new(uid: Arc<str>, registry: Registry, standing: Standing, gauges: Arc<MirrorGauges>) -> Self {
        Self { uid, registry, standing, gauges, looked: None, has_told_of_server_side_emit: false }
    }

    /// Runs until no more will come.
    pub(super) async fn run(mut self, mut inbound: Inbound) {
        while let Some(envelope) = inbound.recv().await {
            self.take(envelope).await;
        }
    }

    async fn take(&mut self, envelope: Envelope) {
        let message = match self.read(&envelope) {
            Ok(message) => message,
            Err(reason) => return self.malformed(&envelope, reason),
        };
        let Some(Message { is_of_adapter, command }) = message else { return };
        if is_of_adapter {
            self.look_for_adapter().await;
        }
        if let Some(command) = command {
            self.deliver(&command);
        }
    }

    /// Its service may serve the same clients, and tell them itself. The guard is asked before this node does.
    async fn look_for_adapter(&mut self) {
        let is_due = self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY);
        if is_due && self.standing.known() == Known::Alone {
            self.standing.check().await;
            self.looked = Some(Instant::now());
        }
    }

    fn deliver(&self, command: &RoomCommand) {
        match self.standing.known() {
            Known::Alone => {}
            Known::Nothing => return self.gauges.dropped(Dropped::InUnchecked),
            Known::Adapter => return self.gauges.dropped(Dropped::InConflict),
        }
        self.gauges.delivered();
        for _ in 0..self.registry.command_rooms(command) {
            self.gauges.dropped(Dropped::InWorkerFull);
        }
    }

    /// `None`: it is this node's own.
    fn read(&mut self, envelope: &Envelope) -> Result<Option<Message>, &'static str> {
        match &envelope.topic {
            Topic::Broadcast { namespace, .. } => self.broadcast(namespace, &envelope.payload),
            Topic::Request { namespace } => self.request(namespace, &envelope.payload),
        }
    }

    fn broadcast(&self, namespace: &str, payload: &[u8]) -> Result<Option<Message>, &'static str> {
        let broadcast = Broadcast::decode(payload).map_err(|malformed| malformed.code())?;
        if *broadcast.namespace != *namespace {
            return Err("other_namespace");
        }
        if *broadcast.uid == *self.uid {
            return Ok(None);
        }
        let sender = match &*broadcast.uid {
            _ if broadcast.is_of_gate => Sender::Gate,
            EMITTER => Sender::Emitter,
            _ => Sender::Adapter,
        };
        self.gauges.received(sender);
        let Broadcast { namespace, json, attachments, rooms, except, is_volatile, .. } = broadcast;
        let attachments = attachments.into_iter().map(Bytes::from).collect();
        let delivery = Delivery::new(namespace.clone(), Bytes::from(json), attachments, is_volatile);
        let command = RoomCommand::Deliver(Selection { namespace, rooms, except }, Arc::new(delivery));
        Ok(Some(Message { is_of_adapter: sender == Sender::Adapter, command: Some(command) }))
    }

    /// What an emitter may ask for is done. The rest is for members of the adapter's cluster, and a gate is none.
    fn request(&mut self, namespace: &str, payload: &[u8]) -> Result<Option<Message>, &'static str> {
        let request = Request::decode(payload).map_err(|malformed| malformed.code())?;
        let of = |Sockets { rooms, except }| Selection { namespace: namespace.into(), rooms, except };
        if let Request::Join(_, rooms) = &request
            && rooms.iter().any(|room| room.len() > ROOM_MAX_BYTES)
        {
            // Each client would keep it.
            return Err("room_too_long");
        }
        let (asked, command) = match request {
            Request::Join(sockets, rooms) => (NodeRequest::Join, Some(RoomCommand::Join(of(sockets), rooms))),
            Request::Leave(sockets, rooms) => (NodeRequest::Leave, Some(RoomCommand::Leave(of(sockets), rooms))),
            Request::Disconnect(sockets, close) => {
                (NodeRequest::Disconnect, Some(RoomCommand::Disconnect(of(sockets), close)))
            }
            Request::ServerSideEmit => {
                self.tell_of_server_side_emit();
                (NodeRequest::ServerSideEmit, None)
            }
            Request::Question => (NodeRequest::Question, None),
        };
        self.gauges.requested(asked);
        // Who asks waits for answers, as adapters alone do.
        Ok(Some(Message { is_of_adapter: asked == NodeRequest::Question, command }))
    }

    fn tell_of_server_side_emit(&mut self) {
        if !std::mem::replace(&mut self.has_told_of_server_side_emit, true) {
            let sentence = "serverSideEmit of an emitter reaches no server: a service behind a gate has no adapter; it is counted, \
                            and not logged again";
            journal::line(LogLevel::Warn, sentence);
        }
    }

    fn malformed(&self, envelope: &Envelope, reason: &'static str) {
        self.gauges.malformed(reason);
        let (Topic::Broadcast { namespace, .. } | Topic::Request { namespace }) = &envelope.topic;
        let namespace: String = namespace.chars().take(SHOWN_CHARS).collect();
        let begin: String = envelope.payload.iter().take(SHOWN_BYTES).map(|byte| format!("{byte:02x}")).collect();
        let length = envelope.payload.len();
        let why = format!(
            "a message of {length} bytes for the namespace {namespace:?} is ignored, as none of the Socket.IO adapter: {reason}; \
             it begins with {begin}; only services, emitters and gates may publish on channels of redis.key"
        );
        journal::nodes::mirror_trouble("mirror_malformed", &why);
    }
}

#[cfg(test)]
mod tests;
