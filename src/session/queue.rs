//! Packets of the client, or messages of a plain route, that wait for the service: whole, in order, bounded in number
//! and bytes.

use std::collections::{BTreeMap, VecDeque};

use zeroize::Zeroizing;

use crate::{
    event_names::EventSlot,
    session::snapshot::{Blob, PacketData},
    wire::websocket::frame::OpCode,
};

/// What an allocation takes beside its bytes: its header, and the rounding of its size (measured with glibc: 8 to 31).
const ALLOCATION_OVERHEAD: usize = 24;

/// What a packet takes in a queue beside its own allocations: its entry, for which a growing queue keeps up to twice the room.
const ENTRY_BYTES: usize = 2 * size_of::<WholePacket>();

/// What an allocation of so many bytes takes.
pub(super) const fn allocated(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { bytes.saturating_add(ALLOCATION_OVERHEAD) }
}

/// What this text takes on the heap.
pub(super) const fn allocated_text(text: &str) -> usize {
    allocated(text.len())
}

/// A longer message of the service passes as it comes, where the session need not have it whole, in bytes. If the service is
/// lost in the middle of one, the client has a part of it, and cannot be held.
pub const STORED_MESSAGE_MAX: usize = 16 * 1024 * 1024;

/// Why a session ends in which a packet, counted with its attachments, has more bytes than a message may have.
pub(super) const PACKET_TOO_BIG: &str = "packet_too_big";

/// A packet with its attachments, or a message of a plain route, as it will be sent. Wiped when dropped: it may hold
/// secrets of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholePacket {
    /// The number of its namespace.
    pub namespace: u8,
    /// Its ack id. `None` if it asks for no ack.
    pub ack_id: Option<u64>,
    /// How often it has been sent already.
    pub sent: u8,
    /// Whether it may be sent again if its ack is lost, or to the next service.
    pub may_be_sent_again: bool,
    /// Whether it is never kept: an event that is worth nothing later.
    pub is_volatile: bool,
    /// Its event.
    pub event: EventSlot,
    opcode: OpCode,
    payload: Zeroizing<Vec<u8>>,
    attachments: Vec<Zeroizing<Vec<u8>>>,
    awaited: u8,
}

impl WholePacket {
    /// A packet that still lacks so many attachments.
    #[must_use]
    pub fn new(namespace: u8, ack_id: Option<u64>, text: Vec<u8>, attachments: u8) -> Self {
        Self {
            namespace,
            ack_id,
            sent: 0,
            may_be_sent_again: false,
            is_volatile: false,
            event: EventSlot::OTHER,
            opcode: OpCode::Text,
            payload: Zeroizing::new(text),
            attachments: Vec::with_capacity(attachments.into()),
            awaited: attachments,
        }
    }

    /// A message of a plain route: Text or Binary.
    #[must_use]
    pub fn message(opcode: OpCode, payload: Vec<u8>) -> Self {
        Self { opcode, ..Self::new(0, None, payload, 0) }
    }

    /// As plain data.
    pub(super) fn save(&self) -> PacketData {
        PacketData {
            namespace: self.namespace,
            ack_id: self.ack_id,
            sent: self.sent,
            may_be_sent_again: self.may_be_sent_again,
            text: Blob(self.payload.clone()),
            attachments: self.attachments.iter().map(|bytes| Blob(bytes.clone())).collect(),
        }
    }

    /// The packet that was [saved](Self::save).
    pub(super) fn load(saved: PacketData) -> Self {
        Self {
            sent: saved.sent,
            may_be_sent_again: saved.may_be_sent_again,
            payload: saved.text.0,
            attachments: saved.attachments.into_iter().map(|bytes| bytes.0).collect(),
            ..Self::new(saved.namespace, saved.ack_id, Vec::new(), 0)
        }
    }

    /// Adds the next attachment.
    pub fn attach(&mut self, bytes: Vec<u8>) {
        self.attachments.push(Zeroizing::new(bytes));
        self.awaited = self.awaited.saturating_sub(1);
    }

    /// Whether every attachment has come.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.awaited == 0
    }

    /// Whether it is an event, and not an ack.
    #[must_use]
    pub fn is_event(&self) -> bool {
        matches!(self.payload.as_slice(), [b'4', b'2' | b'5', ..])
    }

    /// Text or, only on a plain route, Binary.
    #[must_use]
    pub const fn opcode(&self) -> OpCode {
        self.opcode
    }

    /// The text of the packet, or the message.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Its attachments, in order.
    pub fn attachments(&self) -> impl Iterator<Item = &[u8]> {
        self.attachments.iter().map(|bytes| bytes.as_slice())
    }

    /// The messages to send: the packet, then its attachments.
    pub fn frames(&self) -> impl Iterator<Item = (OpCode, &[u8])> {
        let attachments = self.attachments.iter().map(|bytes| (OpCode::Binary, bytes.as_slice()));
        std::iter::once((self.opcode, self.payload())).chain(attachments)
    }

    /// The bytes of payload and attachments together, as a peer sees them.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.payload.len() + self.attachments().map(<[u8]>::len).sum::<usize>()
    }

    /// What the packet takes in a queue, in bytes of memory.
    #[must_use]
    pub fn memory(&self) -> usize {
        let attachments = self.attachments.iter().map(|bytes| allocated(bytes.capacity())).sum::<usize>();
        let list = allocated(self.attachments.capacity() * size_of::<Zeroizing<Vec<u8>>>());
        ENTRY_BYTES + allocated(self.payload.capacity()) + list + attachments
    }
}

/// The event that takes most of the memory of these packets. `None`: there are none.
pub(super) fn fills<'a>(packets: impl Iterator<Item = &'a WholePacket>) -> Option<EventSlot> {
    let mut events: BTreeMap<EventSlot, usize> = BTreeMap::new();
    packets.for_each(|packet| *events.entry(packet.event).or_default() += packet.memory());
    events.into_iter().max_by_key(|(_, bytes)| *bytes).map(|(event, _)| event)
}

/// The bounds of one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueBounds {
    /// At most this many packets.
    pub packets: usize,
    /// At most this many bytes of memory.
    pub bytes: usize,
}

impl QueueBounds {
    /// Whether an empty queue could hold this packet.
    #[must_use]
    pub fn may_hold(&self, packet: &WholePacket) -> bool {
        self.packets > 0 && packet.memory() <= self.bytes
    }
}

/// Packets that wait.
#[derive(Debug, Default)]
pub struct Queue {
    packets: VecDeque<WholePacket>,
    /// What they take in memory.
    bytes: usize,
}

impl Queue {
    /// Whether there is room for this packet.
    #[must_use]
    pub fn has_room(&self, packet: &WholePacket, bounds: &QueueBounds) -> bool {
        self.packets.len() < bounds.packets && self.bytes.saturating_add(packet.memory()) <= bounds.bytes
    }

    /// Adds a packet at the end.
    pub fn push(&mut self, packet: WholePacket) {
        self.bytes += packet.memory();
        self.packets.push_back(packet);
    }

    /// Puts packets back at the front, in their order.
    pub fn put_back(&mut self, packets: impl DoubleEndedIterator<Item = WholePacket>) {
        for packet in packets.rev() {
            self.bytes += packet.memory();
            self.packets.push_front(packet);
        }
    }

    /// Takes the oldest.
    pub fn pop(&mut self) -> Option<WholePacket> {
        let packet = self.packets.pop_front();
        if let Some(packet) = &packet {
            self.bytes -= packet.memory();
        } else {
            // Nearly no session queues again.
            self.packets = VecDeque::new();
        }
        packet
    }

    /// Takes the newest, if it is this one.
    pub fn pop_last_if(&mut self, is_it: impl FnOnce(&WholePacket) -> bool) -> Option<WholePacket> {
        let packet = self.packets.pop_back_if(|last| is_it(last))?;
        self.bytes -= packet.memory();
        Some(packet)
    }

    /// Keeps only these packets, and returns how many were dropped.
    pub fn retain(&mut self, stays: impl FnMut(&WholePacket) -> bool) -> usize {
        let before = self.packets.len();
        if before == 0 {
            return 0;
        }
        self.packets.retain(stays);
        self.bytes = self.packets.iter().map(WholePacket::memory).sum();
        before - self.packets.len()
    }

    /// All packets, from the oldest on.
    pub fn iter(&self) -> impl Iterator<Item = &WholePacket> {
        self.packets.iter()
    }

    /// The number of packets.
    #[must_use]
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// Whether no packet waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// What all packets take, in bytes of memory.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(namespace: u8, text: &str) -> WholePacket {
        WholePacket::new(namespace, None, text.as_bytes().to_vec(), 0)
    }

    fn emptied(queue: &mut Queue) -> Vec<String> {
        std::iter::from_fn(|| queue.pop())
            .map(|packet| String::from_utf8_lossy(packet.payload()).into_owned())
            .collect()
    }

    #[test]
    fn packets_leave_in_order_and_those_put_back_go_first() {
        let mut queue = Queue::default();
        queue.push(packet(0, "c"));
        queue.push(packet(1, "gone"));
        queue.push(packet(0, "d"));
        queue.put_back([packet(0, "a"), packet(0, "b")].into_iter());
        let bytes = ["a", "b", "c", "gone", "d"].map(|text| packet(0, text).memory()).iter().sum::<usize>();
        assert_eq!((queue.len(), queue.bytes(), queue.retain(|packet| packet.namespace == 0)), (5, bytes, 1));
        assert_eq!(emptied(&mut queue), ["a", "b", "c", "d"]);
        assert_eq!((queue.bytes(), queue.is_empty()), (0, true));
    }

    #[test]
    fn it_is_bounded_in_packets_and_in_the_memory_that_they_take() {
        let bounds = QueueBounds { packets: 2, bytes: packet(0, "12345678").memory() + packet(0, "90").memory() };
        let mut queue = Queue::default();
        queue.push(packet(0, "12345678"));
        assert!(queue.has_room(&packet(0, "90"), &bounds));
        assert!(!queue.has_room(&packet(0, "901"), &bounds), "bytes");
        queue.push(packet(0, ""));
        assert!(!queue.has_room(&packet(0, ""), &bounds), "packets");
    }

    #[test]
    fn what_is_counted_is_what_a_queue_of_small_packets_takes() {
        let mut queue = Queue::default();
        (0..1000).for_each(|_| queue.push(packet(0, "42[\"a\"]")));
        let entries = queue.packets.capacity() * size_of::<WholePacket>();
        assert!(queue.bytes() >= entries + 1000 * "42[\"a\"]".len(), "{} of {entries}", queue.bytes());
        assert!(queue.bytes() <= 1000 * 300, "{}", queue.bytes());
        let mut packet = WholePacket::new(0, None, b"452-[]".to_vec(), 2);
        let alone = packet.memory();
        packet.attach(vec![0; 1000]);
        assert!(packet.memory() >= alone + 1000);
    }

    #[test]
    fn a_packet_is_complete_with_its_last_attachment() {
        let mut packet = WholePacket::new(0, Some(7), b"452-7[]".to_vec(), 2);
        packet.attach(vec![1]);
        assert!(!packet.is_whole());
        packet.attach(Vec::new());
        assert!(packet.is_whole());
        assert_eq!((packet.bytes(), packet.attachments().count()), (8, 2));
    }
}
