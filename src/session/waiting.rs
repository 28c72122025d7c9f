//! How a packet of the client joins those that wait for the service.

use crate::session::{
    core::Core,
    ended::Ended,
    queue::{Queue, WholePacket, fills},
    upstream::Upstream,
};

/// Queues a packet, unless it is one that never waits and would. Those that are dropped: it, or older ones in its place.
pub(super) fn enqueue(packet: WholePacket, upstream: &mut Upstream, core: &mut Core) -> Vec<WholePacket> {
    if packet.is_volatile && upstream.queues() {
        upstream.count_dropped();
        return vec![packet];
    }
    let room = upstream.enqueue(packet, &core.rules.hold);
    if room.is_full || !room.dropped.is_empty() {
        let queue = upstream.backlog().map(|backlog| &backlog.queue);
        core.record_filled("hold", || fills(queue.into_iter().flat_map(Queue::iter).chain(&room.dropped)));
    }
    if room.is_full {
        core.end(Ended::QueueFull);
    }
    room.dropped
}
