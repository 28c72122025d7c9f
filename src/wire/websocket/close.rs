//! The payload of a close frame: a code, and a reason for people (RFC 6455 §5.5.1, §7.4).

use std::fmt;

use super::frame::{CONTROL_PAYLOAD_MAX, FrameError};

/// The longest reason, in bytes: what the code leaves of a control payload.
pub const REASON_BYTES_MAX: usize = CONTROL_PAYLOAD_MAX as usize - 2;

/// Why a connection was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// It has served its purpose.
    pub const NORMAL: Self = Self(1000);
    /// The process stops, or the page is left.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke a rule of RFC 6455.
    pub const PROTOCOL: Self = Self(1002);
    /// A kind of message that is not taken here.
    pub const UNSUPPORTED: Self = Self(1003);
    /// Never sent: stands for a close frame without a code.
    pub const NO_STATUS: Self = Self(1005);
    /// Never sent: stands for a connection that ended without a close frame.
    pub const ABNORMAL: Self = Self(1006);
    /// Text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// Not allowed by policy, and nothing more exact fits.
    pub const POLICY: Self = Self(1008);
    /// A message longer than allowed.
    pub const TOO_BIG: Self = Self(1009);
    /// The one who closes is at fault.
    pub const INTERNAL: Self = Self(1011);
    /// The service restarts; come back after a random while.
    pub const RESTART: Self = Self(1012);
    /// Overloaded; try another time.
    pub const TRY_AGAIN: Self = Self(1013);
    /// The service behind a gateway gave no valid answer.
    pub const BAD_GATEWAY: Self = Self(1014);

    /// Any code, as it was read or configured; see [`CloseCode::may_be_sent`].
    #[must_use]
    pub const fn new(code: u16) -> Self {
        Self(code)
    }

    /// The code as a number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Will whoever closed with it be there again, for the same client?
    #[must_use]
    pub const fn comes_back(self) -> bool {
        matches!(self, Self::GOING_AWAY | Self::RESTART | Self::TRY_AGAIN)
    }

    /// A close frame may carry it: RFC 6455 §7.4 and the registry it founded (1000 to 1014 without 1004 to 1006), and
    /// 3000 to 4999 for libraries and applications. The same that `ws` allows.
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

/// Reads the unmasked payload of a close frame. None: it is empty, and the code is [`CloseCode::NO_STATUS`].
///
/// # Errors
/// A body of one byte, a code that must not be sent, a reason that is not UTF-8.
pub fn parse_close(payload: &[u8]) -> Result<Option<(CloseCode, &str)>, FrameError> {
    if payload.is_empty() {
        return Ok(None);
    }
    let Some((&code, reason)) = payload.split_first_chunk::<2>() else { return Err(FrameError::CloseTruncated) };
    let code = CloseCode(u16::from_be_bytes(code));
    if !code.may_be_sent() {
        return Err(FrameError::CloseCodeReserved(code.0));
    }
    let reason = std::str::from_utf8(reason).map_err(|_| FrameError::NotUtf8)?;
    Ok(Some((code, reason)))
}

/// Appends the payload of a close frame: nothing without a code or with one that must not be sent; else the code and as
/// many whole characters of `reason` as fit into [`REASON_BYTES_MAX`].
pub fn encode_close(code: Option<CloseCode>, reason: &str, out: &mut Vec<u8>) {
    if let Some(code) = code.filter(|code| code.may_be_sent()) {
        out.extend_from_slice(&code.0.to_be_bytes());
        out.extend_from_slice(&reason.as_bytes()[..reason.floor_char_boundary(REASON_BYTES_MAX)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_may_be_sent_and_those_that_may_not() {
        // Autobahn 7.7 and 7.9; the rest from RFC 6455 §7.4.2 and `ws` isValidStatusCode.
        for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999] {
            assert_eq!(parse_close(&u16::to_be_bytes(code)), Ok(Some((CloseCode(code), ""))), "{code}");
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
            assert_eq!(parse_close(&u16::to_be_bytes(code)), Err(FrameError::CloseCodeReserved(code)), "{code}");
        }
    }

    #[test]
    fn bodies_and_what_they_mean() {
        // Autobahn 7.3 and 7.5.
        assert_eq!(parse_close(b""), Ok(None));
        assert_eq!(parse_close(b"\x03"), Err(FrameError::CloseTruncated));
        assert_eq!(parse_close(b"\x03\xe8Bye \xc3\xa9"), Ok(Some((CloseCode::NORMAL, "Bye é"))));
        assert_eq!(parse_close(b"\x03\xe8\xce"), Err(FrameError::NotUtf8));
    }

    #[test]
    fn what_is_written_can_be_read_and_fits_a_control_frame() {
        let long = "é".repeat(100);
        for (code, reason, read) in [
            (CloseCode::POLICY, "token expired", "token expired"),
            (CloseCode::new(4400), "", ""),
            // 123 is odd, so the 62nd two-byte character does not fit.
            (CloseCode::NORMAL, long.as_str(), &long[..122]),
        ] {
            let mut payload = Vec::new();
            encode_close(Some(code), reason, &mut payload);
            assert!(payload.len() as u64 <= CONTROL_PAYLOAD_MAX);
            assert_eq!(parse_close(&payload), Ok(Some((code, read))));
        }
    }

    #[test]
    fn a_code_that_must_not_be_sent_is_not() {
        for code in [None, Some(CloseCode::NO_STATUS), Some(CloseCode::ABNORMAL)] {
            let mut payload = Vec::new();
            encode_close(code, "reason", &mut payload);
            assert_eq!(payload, b"");
        }
    }
}
