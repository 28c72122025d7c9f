//! WebSocket pings and pongs of both sides: answered, and limited (RFC 6455 §5.5.2, §5.5.3).

use std::{mem, time::Instant};

use crate::{
    session::{Action, Common, Session, ended::Ended},
    wire::websocket::close::CloseCode,
};

/// Answers to one side's pings that may wait at once.
const PONGS_WAITING_MAX: usize = 16;

/// Why a session ends on which control frames come faster than [`ControlRate`](super::control_rate::ControlRate) admits.
const CONTROL_RATE: &str = "control_rate";

impl Session {
    /// The client sent a control frame that is no Close; too many of them end the session.
    pub fn client_control(&mut self, now: Instant) -> bool {
        let admitted = self.common.client_control_rate.admits(now);
        if !admitted {
            self.common.end(Ended::ClientFrame(CloseCode::POLICY, CONTROL_RATE));
        }
        admitted
    }

    /// The client sent a WebSocket ping.
    pub fn client_pinged(&mut self, payload: &[u8], now: Instant) {
        if self.client_control(now) {
            self.common.answer_ping(Action::PongClient(payload.into()));
        }
    }

    /// The service sent a WebSocket ping; too many of them end the session.
    pub fn service_pinged(&mut self, payload: &[u8], now: Instant) {
        if self.common.service_control_rate.admits(now) {
            self.common.answer_ping(Action::PongService(payload.into()));
        } else {
            self.common.end(Ended::ServiceFrame(CloseCode::POLICY, CONTROL_RATE));
        }
    }
}

impl Common {
    /// Queues the answer to a ping. While none can be said, because a frame of the other side is passing, the first ones
    /// wait and then the latest: where several pings are unanswered, RFC 6455 §5.5.3 asks for the latest alone.
    fn answer_ping(&mut self, pong: Action) {
        let kind = mem::discriminant(&pong);
        let is_pong = |waiting: &Action| mem::discriminant(waiting) == kind;
        if self.actions.iter().filter(|waiting| is_pong(waiting)).count() < PONGS_WAITING_MAX {
            self.actions.push_back(pong);
        } else if let Some(latest) = self.actions.iter_mut().rfind(|waiting| is_pong(waiting)) {
            *latest = pong;
        }
    }
}
