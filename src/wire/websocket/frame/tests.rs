//! Frame headers: what they mean, what they must not be, and there and back at every split.

use proptest::prelude::*;

use super::*;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

fn header(opcode: OpCode, mask: Option<[u8; 4]>, payload_len: u64, header_len: usize) -> FrameHeader {
    FrameHeader { fin: true, opcode, mask, payload_len, header_len }
}

#[test]
fn headers_mean_what_rfc_6455_says() {
    use OpCode::{Binary, Close, Continuation, Ping, Pong, Text};
    use Sender::{Client, Service};
    let rows: &[(&[u8], Sender, FrameHeader)] = &[
        // RFC 6455 §5.7, the examples in their order.
        (&[0x81, 0x05], Service, header(Text, None, 5, 2)),
        (&[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d], Client, header(Text, Some(MASK), 5, 6)),
        (&[0x01, 0x03], Service, FrameHeader { fin: false, ..header(Text, None, 3, 2) }),
        (&[0x80, 0x02], Service, header(Continuation, None, 2, 2)),
        (&[0x89, 0x05], Service, header(Ping, None, 5, 2)),
        (&[0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d], Client, header(Pong, Some(MASK), 5, 6)),
        (&[0x82, 0x7e, 0x01, 0x00], Service, header(Binary, None, 256, 4)),
        (&[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0], Service, header(Binary, None, 65536, 10)),
        // The bounds of each way to write a length, RFC 6455 §5.2.
        (&[0x82, 0x7d], Service, header(Binary, None, 125, 2)),
        (&[0x82, 0x7e, 0x00, 0x7e], Service, header(Binary, None, 126, 4)),
        (&[0x82, 0x7e, 0xff, 0xff], Service, header(Binary, None, 65535, 4)),
        (&[0x82, 0x7f, 0x7f, 255, 255, 255, 255, 255, 255, 255], Service, header(Binary, None, u64::MAX >> 1, 10)),
        // Empty frames; RFC 6455 §5.5: 125 bytes of control payload are allowed.
        (&[0x88, 0x00], Service, header(Close, None, 0, 2)),
        (&[0x89, 0x7d], Service, header(Ping, None, 125, 2)),
    ];
    for (bytes, sender, meaning) in rows {
        assert_eq!(FrameHeader::parse(bytes, *sender), Ok(Some(*meaning)), "{bytes:02x?}");
    }
}

#[test]
fn headers_that_break_a_rule_are_refused_by_its_name() {
    use Sender::{Client, Service};
    let rows: &[(&[u8], Sender, FrameError)] = &[
        // Autobahn 3.*: reserved bits; CVE-2022-21676 was RSV1 towards old Node.
        (&[0xc1], Service, FrameError::ReservedBits),
        (&[0xa1], Service, FrameError::ReservedBits),
        (&[0x91], Client, FrameError::ReservedBits),
        // Autobahn 4.*: reserved opcodes.
        (&[0x83], Service, FrameError::ReservedOpCode(3)),
        (&[0x87, 0x00], Service, FrameError::ReservedOpCode(7)),
        (&[0x8b, 0x80], Client, FrameError::ReservedOpCode(11)),
        (&[0x8f, 0x80], Client, FrameError::ReservedOpCode(15)),
        // Autobahn 2.5 and 5.1 to 5.2: control frames that are long or fragmented.
        (&[0x89, 0x7e], Service, FrameError::ControlTooLong(OpCode::Ping)),
        (&[0x88, 0xff], Client, FrameError::ControlTooLong(OpCode::Close)),
        (&[0x09], Client, FrameError::FragmentedControl(OpCode::Ping)),
        (&[0x0a, 0x00], Service, FrameError::FragmentedControl(OpCode::Pong)),
        // RFC 6455 §5.1.
        (&[0x81, 0x05], Client, FrameError::Unmasked),
        (&[0x81, 0x85], Service, FrameError::Masked),
        // RFC 6455 §5.2.
        (&[0x82, 0x7e, 0x00, 0x7d], Service, FrameError::NonMinimalLength(125)),
        (&[0x82, 0x7f, 0, 0, 0, 0, 0, 0, 255, 255], Service, FrameError::NonMinimalLength(65535)),
        (&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], Client, FrameError::LengthTopBit),
    ];
    for (bytes, sender, rule) in rows {
        assert_eq!(FrameHeader::parse(bytes, *sender), Err(*rule), "{bytes:02x?}");
        assert_eq!(rule.close_code(), CloseCode::PROTOCOL);
    }
}

#[test]
fn the_close_code_tells_the_kind_of_fault() {
    assert_eq!(FrameError::NotUtf8.close_code(), CloseCode::INVALID_PAYLOAD);
    assert_eq!(FrameError::TooBig { max: 1 }.close_code(), CloseCode::TOO_BIG);
    assert_eq!(FrameError::TooManyFragments.close_code(), CloseCode::POLICY);
    assert_eq!(FrameError::ControlRate.close_code(), CloseCode::POLICY);
}

fn data_opcode() -> impl Strategy<Value = OpCode> {
    prop_oneof![Just(OpCode::Continuation), Just(OpCode::Text), Just(OpCode::Binary)]
}

fn payload_len() -> impl Strategy<Value = u64> {
    prop_oneof![0..200u64, 65_000..66_000u64, 0..=u64::MAX >> 1]
}

proptest! {
    #[test]
    fn a_header_comes_back_as_it_was_written_and_any_shorter_part_is_not_enough(
        opcode in data_opcode(), payload_len in payload_len(), mask in any::<Option<[u8; 4]>>(), after in any::<[u8; 3]>(),
    ) {
        let mut bytes = Vec::new();
        FrameHeader::encode(opcode, payload_len, mask, &mut bytes);
        let header_len = bytes.len();
        let sender = if mask.is_some() { Sender::Client } else { Sender::Service };
        for end in 0..header_len {
            prop_assert_eq!(FrameHeader::parse(&bytes[..end], sender), Ok(None));
        }
        bytes.extend(after);
        let read = FrameHeader::parse(&bytes, sender);
        prop_assert_eq!(read, Ok(Some(header(opcode, mask, payload_len, header_len))));
    }

    #[test]
    fn a_control_header_comes_back_as_it_was_written(payload_len in 0..=CONTROL_PAYLOAD_MAX, mask in any::<[u8; 4]>()) {
        for opcode in [OpCode::Close, OpCode::Ping, OpCode::Pong] {
            let mut bytes = Vec::new();
            FrameHeader::encode(opcode, payload_len, Some(mask), &mut bytes);
            let read = FrameHeader::parse(&bytes, Sender::Client);
            prop_assert_eq!(read, Ok(Some(header(opcode, Some(mask), payload_len, 6))));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
        for sender in [Sender::Client, Sender::Service] {
            if let Ok(Some(header)) = FrameHeader::parse(&bytes, sender) {
                prop_assert!(header.header_len <= bytes.len().min(HEADER_BYTES_MAX));
            }
        }
    }
}
