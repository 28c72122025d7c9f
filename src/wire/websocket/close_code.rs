//! Why a connection is closed, as a number (RFC 6455 §7.4).

use std::fmt;

/// Why a connection was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// The connection has served its purpose.
    pub const NORMAL: Self = Self(1000);
    /// The process stops, or the page is left.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke a rule of RFC 6455.
    pub const PROTOCOL: Self = Self(1002);
    /// A kind of message that is not supported.
    pub const UNSUPPORTED: Self = Self(1003);
    /// Never sent: stands for a close frame without a code.
    pub const NO_STATUS: Self = Self(1005);
    /// Never sent: stands for a connection that ended without a close frame.
    pub const ABNORMAL: Self = Self(1006);
    /// Text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// Forbidden by a policy, and no other code is more exact.
    pub const POLICY: Self = Self(1008);
    /// A message longer than allowed.
    pub const TOO_BIG: Self = Self(1009);
    /// An error inside the peer that closes.
    pub const INTERNAL: Self = Self(1011);
    /// The service restarts; a client reconnects after a random time.
    pub const RESTART: Self = Self(1012);
    /// The peer is overloaded; a client reconnects later.
    pub const TRY_AGAIN: Self = Self(1013);
    /// The service behind a gateway gave no valid answer.
    pub const BAD_GATEWAY: Self = Self(1014);

    /// Any code, as read or configured; see [`CloseCode::may_be_sent`].
    #[must_use]
    pub const fn new(code: u16) -> Self {
        Self(code)
    }

    /// The code as a number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Whether the peer that closed with this code expects the same client again.
    #[must_use]
    pub const fn comes_back(self) -> bool {
        matches!(self, Self::GOING_AWAY | Self::RESTART | Self::TRY_AGAIN)
    }

    /// A close frame may carry it: RFC 6455 §7.4 and its registry (1000 to 1014 without 1004 to 1006), and
    /// 3000 to 4999 for libraries and applications. `ws` allows the same.
    #[must_use]
    pub const fn may_be_sent(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
