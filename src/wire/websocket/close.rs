//! The payload of a close frame: a code, and a reason as text (RFC 6455 §5.5.1, §7.4).

pub use super::close_code::CloseCode;
use super::frame::{CONTROL_PAYLOAD_MAX, FrameError};

/// The longest reason, in bytes: what the code leaves of a control payload.
pub const REASON_BYTES_MAX: usize = CONTROL_PAYLOAD_MAX as usize - 2;

/// Reads the unmasked payload of a close frame. `None` if it is empty: the code is [`CloseCode::NO_STATUS`].
///
/// # Errors
/// A body of one byte, a code that must not be sent, a reason that is not UTF-8.
pub fn parse_close(payload: &[u8]) -> Result<Option<(CloseCode, &str)>, FrameError> {
    if payload.is_empty() {
        return Ok(None);
    }
    let Some((&code, reason)) = payload.split_first_chunk::<2>() else { return Err(FrameError::CloseTruncated) };
    let code = CloseCode::new(u16::from_be_bytes(code));
    if !code.may_be_sent() {
        return Err(FrameError::CloseCodeReserved(code.get()));
    }
    let reason = std::str::from_utf8(reason).map_err(|_| FrameError::NotUtf8)?;
    Ok(Some((code, reason)))
}

/// Appends the payload of a close frame: the code, and as many whole characters of `reason` as fit into
/// [`REASON_BYTES_MAX`]. Nothing without a code, or with one that must not be sent.
pub fn encode_close(code: Option<CloseCode>, reason: &str, out: &mut Vec<u8>) {
    if let Some(code) = code.filter(|code| code.may_be_sent()) {
        out.extend_from_slice(&code.get().to_be_bytes());
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
            assert_eq!(parse_close(&u16::to_be_bytes(code)), Ok(Some((CloseCode::new(code), ""))), "{code}");
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
