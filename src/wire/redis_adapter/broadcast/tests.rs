//! Broadcasts as `@socket.io/redis-adapter` 8.3.0 and `@socket.io/redis-emitter` 5.1.0 have published them, and what is none.

use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use super::*;
use crate::wire::{redis_adapter::DEPTH_MAX, socketio::packet::ATTACHMENTS_MAX};

fn hex(digits: &str) -> Vec<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16).unwrap() as u8;
    digits.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn boxed(names: &[&str]) -> Vec<Box<str>> {
    names.iter().map(|&name| name.into()).collect()
}

/// For all of `/`, from the node of the captures.
fn from_node(json: &str, attachments: &[&[u8]]) -> Broadcast {
    Broadcast {
        uid: "ODiCDc".into(),
        namespace: "/".into(),
        json: json.into(),
        attachments: attachments.iter().map(|bytes| bytes.to_vec()).collect(),
        ..Broadcast::default()
    }
}

fn to(rooms: &[&str], broadcast: Broadcast) -> Broadcast {
    Broadcast { rooms: boxed(rooms), ..broadcast }
}

fn from_emitter(json: &str) -> Broadcast {
    Broadcast { uid: "emitter".into(), ..from_node(json, &[]) }
}

/// What stands before the event, and behind it.
const HEAD: &[u8] = b"\x93\xa6ODiCDc\x83\xa4type\x02\xa4data";
const TAIL: &[u8] = b"\xa3nsp\xa1/\x83\xa5rooms\x90\xa6except\x90\xa5flags\x80";

/// A broadcast of this event.
fn with_data(data: &[u8]) -> Vec<u8> {
    [HEAD, data, TAIL].concat()
}

/// How an event in MessagePack reads as JSON.
fn json_of(data: &[u8]) -> Result<String, Malformed> {
    Broadcast::decode(&with_data(data)).map(|broadcast| String::from_utf8(broadcast.json).unwrap())
}

/// The MessagePack of an event in JSON.
fn data_of(json: &str, attachments: &[&[u8]]) -> Result<Vec<u8>, Malformed> {
    let payload = from_node(json, attachments).encode()?;
    Ok(payload.strip_prefix(HEAD).unwrap().strip_suffix(TAIL).unwrap().to_vec())
}

#[test]
fn captures_of_the_adapter_are_read_and_written_byte_for_byte() {
    let rows = [
        (
            r#"io.emit("news",{a:1},"é")"#,
            "93a64f446943446383a47479706502a46461746193a46e65777381a16101a2c3a9a36e7370a12f83a5726f6f6d7390a665786365707490\
             a5666c61677380",
            from_node(r#"["news",{"a":1},"é"]"#, &[]),
        ),
        (
            r#"io.to("room1").emit("news",42,null,true)"#,
            "93a64f446943446383a47479706502a46461746194a46e6577732ac0c3a36e7370a12f83a5726f6f6d7391a5726f6f6d31a66578636570\
             7490a5666c61677380",
            to(&["room1"], from_node(r#"["news",42,null,true]"#, &[])),
        ),
        (
            r#"io.to("room1").emit("bin",<010203ff>,"x")"#,
            "93a64f446943446383a47479706502a46461746193a362696ec404010203ffa178a36e7370a12f83a5726f6f6d7391a5726f6f6d31a665\
             786365707490a5666c61677380",
            to(&["room1"], from_node(r#"["bin",{"_placeholder":true,"num":0},"x"]"#, &[b"\x01\x02\x03\xff"])),
        ),
        (
            "socket.broadcast.emit",
            "93a64f446943446383a47479706502a46461746191a46e657773a36e7370a12f83a5726f6f6d7390a665786365707491b439666f4a67\
             474b31796251754379776141414141a5666c61677380",
            Broadcast { except: boxed(&["9foJgGK1ybQuCywaAAAA"]), ..from_node(r#"["news"]"#, &[]) },
        ),
        (
            r#"io.volatile.to("room1").emit("news")"#,
            "93a64f446943446383a47479706502a46461746191a46e657773a36e7370a12f83a5726f6f6d7391a5726f6f6d31a665786365707490\
             a5666c61677381a8766f6c6174696c65c3",
            Broadcast { is_volatile: true, ..to(&["room1"], from_node(r#"["news"]"#, &[])) },
        ),
    ];
    for (call, digits, broadcast) in rows {
        let payload = hex(&digits.replace(' ', ""));
        assert_eq!(Broadcast::decode(&payload).as_ref(), Ok(&broadcast), "{call}");
        assert_eq!(broadcast.encode().as_ref(), Ok(&payload), "{call}");
        assert_eq!(Broadcast::decode(&[&payload[..], &[0]].concat()), Err(Malformed::Trailing), "{call}");
        for cut in 0..payload.len() {
            assert_eq!(Broadcast::decode(&payload[..cut]), Err(Malformed::Truncated), "{call}, cut at {cut}");
        }
    }
}

#[test]
fn captures_whose_members_stand_in_another_order_or_say_more_are_read() {
    let rows = [
        (
            r#"emitter.emit("e1",1)"#,
            "93a7656d697474657283a47479706502a46461746192a2653101a36e7370a12f83a5726f6f6d7390a5666c61677380a665786365707490",
            from_emitter(r#"["e1",1]"#),
        ),
        (
            r#"emitter.of("chat").to(["lobby","b"]).except("c").volatile.emit("e3",<6869>)"#,
            "93a7656d697474657283a47479706502a46461746192a26533c4026869a36e7370a52f6368617483a5726f6f6d7392a56c6f626279a162\
             a5666c61677381a8766f6c6174696c65c3a665786365707491a163",
            Broadcast {
                namespace: "/chat".into(),
                attachments: vec![b"hi".to_vec()],
                except: boxed(&["c"]),
                is_volatile: true,
                ..to(&["lobby", "b"], from_emitter(r#"["e3",{"_placeholder":true,"num":0}]"#))
            },
        ),
        (
            r#"io.volatile.compress(false).to("room1").emit("news")"#,
            "93a64f446943446383a47479706502a46461746191a46e657773a36e7370a12f83a5726f6f6d7391a5726f6f6d31a665786365707490\
             a5666c61677382a8766f6c6174696c65c3a8636f6d7072657373c2",
            Broadcast { is_volatile: true, ..to(&["room1"], from_node(r#"["news"]"#, &[])) },
        ),
    ];
    for (call, digits, broadcast) in rows {
        let payload = hex(&digits.replace(' ', ""));
        assert_eq!(Broadcast::decode(&payload), Ok(broadcast), "{call}");
    }
}

#[test]
fn what_a_gate_publishes_has_its_flag_behind_those_of_the_adapter() {
    for is_volatile in [false, true] {
        let broadcast = Broadcast { is_of_gate: true, is_volatile, ..from_node(r#"["news"]"#, &[]) };
        let payload = broadcast.encode().unwrap();
        let flags: &[u8] = if is_volatile { b"\x82\xa8volatile\xc3\xa2tg\x01" } else { b"\x81\xa2tg\x01" };
        assert!(payload.ends_with(&[b"\xa5flags", flags].concat()), "{payload:x?}");
        assert_eq!(Broadcast::decode(&payload), Ok(broadcast));
    }
}

#[test]
fn values_are_read_as_socket_io_parser_would_write_them() {
    let rows: &[(&[u8], &str)] = &[
        (b"\x91\xa1e", r#"["e"]"#),
        (b"\x91\x07", "[7]"),
        (b"\x91\xcb\x3f\xf8\0\0\0\0\0\0", "[1.5]"),
        // Numbers: a whole one has no point, what JSON cannot say is null, and all are rounded as JavaScript rounds them.
        (b"\x92\xa1e\xcb\x40\x45\0\0\0\0\0\0", r#"["e",42]"#),
        (b"\x92\xa1e\xca\x3d\xcc\xcc\xcd", r#"["e",0.10000000149011612]"#),
        (b"\x92\xa1e\xcb\x7f\xf8\0\0\0\0\0\0", r#"["e",null]"#),
        (b"\x92\xa1e\xcb\xff\xf0\0\0\0\0\0\0", r#"["e",null]"#),
        (b"\x92\xa1e\xcb\x80\0\0\0\0\0\0\0", r#"["e",0]"#),
        (b"\x92\xa1e\xcf\0\x20\0\0\0\0\0\x01", r#"["e",9007199254740992]"#),
        (b"\x92\xa1e\xcf\xff\xff\xff\xff\xff\xff\xff\xff", r#"["e",18446744073709552000]"#),
        (b"\x92\xa1e\xd3\x80\0\0\0\0\0\0\0", r#"["e",-9223372036854776000]"#),
        (b"\x92\xa1e\xd3\xff\xff\xff\xff\0\0\0\0", r#"["e",-4294967296]"#),
        // Dates, and `undefined`, which a member of an object drops.
        (b"\x92\xa1e\xd6\xff\0\0\0\x01", r#"["e","1970-01-01T00:00:01.000Z"]"#),
        (b"\x93\xa1e\xd4\0\0\x82\xa1a\xd4\0\0\xa1b\x01", r#"["e",null,{"b":1}]"#),
        (b"\x92\xa1e\x82\xa1a\x01\xa1b\xd4\0\0", r#"["e",{"a":1}]"#),
        // Strings.
        (b"\x92\xa1e\xaa\"\\/\x08\x0c\n\r\t\x01\x7f", "[\"e\",\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\x7f\"]"),
        // Names of members are strings in JavaScript; `__proto__` sets none.
        (b"\x92\xa1e\x83\x01\xc0\xff\xc0\xcb\x3f\xe0\0\0\0\0\0\0\xc0", r#"["e",{"1":null,"-1":null,"0.5":null}]"#),
        (b"\x92\xa1e\x82\xa9__proto__\x91\xc4\x01x\xa1a\x01", r#"["e",{"a":1}]"#),
        // A placeholder of no attachment is an object like others.
        (b"\x92\xa1e\x82\xac_placeholder\xc3\xa3num\x07", r#"["e",{"_placeholder":true,"num":7}]"#),
        // Attachments, an ArrayBuffer of notepack.io 2 among them.
        (
            b"\x93\xa1e\xc4\x01x\x81\xa1a\xc7\x01\0y",
            r#"["e",{"_placeholder":true,"num":0},{"a":{"_placeholder":true,"num":1}}]"#,
        ),
    ];
    for (data, json) in rows {
        assert_eq!(json_of(data).as_deref(), Ok(*json), "{data:x?}");
    }
}

#[test]
fn values_are_written_as_notepack_io_writes_them() {
    let rows: &[(&str, &[u8])] = &[
        (r#"["e"]"#, b"\x91\xa1e"),
        (" [ \"e\" , { \"a\" : [ ] , \"b\" : { } } ] ", b"\x92\xa1e\x82\xa1a\x90\xa1b\x80"),
        ("[7,true,false,null]", b"\x94\x07\xc3\xc2\xc0"),
        ("[7,127,128,255,256,65535,65536]", b"\x97\x07\x7f\xcc\x80\xcc\xff\xcd\x01\0\xcd\xff\xff\xce\0\x01\0\0"),
        ("[7,4294967295,4294967296]", b"\x93\x07\xce\xff\xff\xff\xff\xcf\0\0\0\x01\0\0\0\0"),
        ("[7,-1,-32,-33,-128,-129]", b"\x96\x07\xff\xe0\xd0\xdf\xd0\x80\xd1\xff\x7f"),
        ("[7,-2147483648,-2147483649]", b"\x93\x07\xd2\x80\0\0\0\xd3\xff\xff\xff\xff\x7f\xff\xff\xff"),
        ("[7,1.0,-0,1e3,-1E2,1.5]", b"\x96\x07\x01\0\xcd\x03\xe8\xd0\x9c\xcb\x3f\xf8\0\0\0\0\0\0"),
        // Beyond what JavaScript counts, and beyond the whole numbers of MessagePack.
        ("[7,18446744073709551615]", b"\x92\x07\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
        ("[7,-9223372036854775808]", b"\x92\x07\xd3\x80\0\0\0\0\0\0\0"),
        ("[7,18446744073709551616]", b"\x92\x07\xcb\x43\xf0\0\0\0\0\0\0"),
        ("[7,1e999]", b"\x92\x07\xcb\x7f\xf0\0\0\0\0\0\0"),
        ("[7,5e-324]", b"\x92\x07\xcb\0\0\0\0\0\0\0\x01"),
        (r#"["\u0065\n\ud83d\ude00"]"#, b"\x91\xa6e\n\xf0\x9f\x98\x80"),
        (r#"["e","\ud800x"]"#, b"\x92\xa1e\xa4\xef\xbf\xbdx"),
        // A placeholder of no attachment is an object like others.
        (r#"["e",{"_placeholder":true,"num":0}]"#, b"\x92\xa1e\x82\xac_placeholder\xc3\xa3num\0"),
    ];
    for (json, data) in rows {
        assert_eq!(data_of(json, &[]).as_deref(), Ok(*data), "{json}");
    }
    let long = format!(r#"["{}",[{}1],{{{}"z":1}}]"#, "x".repeat(70_000), "1,".repeat(65_536), members(20));
    let data = data_of(&long, &[]).unwrap();
    assert_eq!(data[..6], *b"\x93\xdb\0\x01\x11\x70");
    assert_eq!(data[70_006..70_011], *b"\xdd\0\x01\0\x01");
    assert_eq!(data[70_011 + 65_537..][..3], *b"\xde\0\x15");
    assert_eq!(json_of(&data), Ok(long));
}

fn members(count: u32) -> String {
    (0..count).map(|number| format!(r#""a{number}":{number},"#)).collect()
}

#[test]
fn attachments_go_to_their_places() {
    let one = r#"["e",{"_placeholder":true,"num":0}]"#;
    assert_eq!(data_of(one, &[b"hi"]).as_deref(), Ok(&b"\x92\xa1e\xc4\x02hi"[..]));
    // However a placeholder is spelled; twice, in another order, or not at all.
    let many = r#"["e",{ "num" : 1e0, "a":[1], "\u005fplaceholder" : true },{"a":{"_placeholder":true,"num":0}}]"#;
    assert_eq!(data_of(many, &[b"x", b"y"]).as_deref(), Ok(&b"\x93\xa1e\xc4\x01y\x81\xa1a\xc4\x01x"[..]));
    let twice = r#"["e",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]"#;
    assert_eq!(data_of(twice, &[b"x"]).as_deref(), Ok(&b"\x93\xa1e\xc4\x01x\xc4\x01x"[..]));
    assert_eq!(data_of(r#"["e"]"#, &[b"x"]).as_deref(), Ok(&b"\x91\xa1e"[..]));
    for number in ["1", "-1", "0.5", "null", "\"0\"", "1e999"] {
        let wrong = format!(r#"["e",{{"_placeholder":true,"num":{number}}}]"#);
        assert_eq!(data_of(&wrong, &[b"x"]), Err(Malformed::Placeholder), "{number}");
    }
    assert_eq!(data_of(r#"["e",{"_placeholder":true}]"#, &[b"x"]), Err(Malformed::Placeholder));
    // Large ones many times.
    let large = vec![0; PAYLOAD_BYTES_MAX / 2];
    assert_eq!(data_of(twice, &[&large]), Err(Malformed::TooLarge));
    assert_eq!(data_of(one, &[&large]).map(|data| data.len()), Ok(large.len() + 3 + 5));
}

#[test]
fn what_is_no_broadcast_is_refused_by_the_rule_it_breaks() {
    use Malformed::{
        Envelope, EventName, EventReserved, Extension, Member, MemberName, Namespace, NotUtf8, PacketType, Placeholder,
        Reserved, TooLarge, TooManyAttachments, TooManyRooms, Truncated,
    };
    let envelope = |packet: &[u8], opts: &[u8]| [b"\x93\xa1u", packet, opts].concat();
    let packet = |packet: &[u8]| envelope(packet, b"\x80");
    let opts = |opts: &[u8]| envelope(b"\x82\xa4type\x02\xa4data\x91\xa1e", opts);
    let names =
        [&b"\x81\xa5rooms\xdc"[..], &u16::try_from(ROOMS_MAX + 1).unwrap().to_be_bytes(), &[0xa0; ROOMS_MAX + 1]];
    let long = [&b"\x83\xa4type\x02\xa4data\x91\xa1e\xa3nsp\xda\x01\x01"[..], &[b'/'; 257]].concat();
    let attached =
        [vec![0x91 + 1 + ATTACHMENTS_MAX, 0xa1, b'e'], b"\xc4\0".repeat(usize::from(ATTACHMENTS_MAX) + 1)].concat();
    let rows: &[(Vec<u8>, Malformed)] = &[
        (vec![], Truncated),
        (b"{}".into(), Envelope),
        (b"\xc0".into(), Envelope),
        (b"\x80".into(), Envelope),
        (b"\x92\xa1u\x80".into(), Envelope),
        (b"\x94\xa1u\x80\x80\x80".into(), Envelope),
        (b"\xc1".into(), Reserved),
        (b"\x93\x01\x80\x80".into(), Member("uid")),
        (b"\x93\xa1\xff\x80\x80".into(), NotUtf8),
        (b"\x93\xa1u\xc0\x80".into(), Member("packet")),
        (packet(b"\x80"), Member("type")),
        (packet(b"\x81\xa4type\x02"), Member("data")),
        (packet(b"\x81\xa4data\x91\xa1e"), Member("type")),
        (packet(b"\x82\xa4type\x03\xa4data\x91\xa1e"), PacketType),
        (packet(b"\x82\xa4type\xa12\xa4data\x91\xa1e"), PacketType),
        (packet(b"\x83\xa4type\x02\xa4type\x02\xa4data\x91\xa1e"), Member("type")),
        (packet(b"\x83\xa4type\x02\xa4data\x91\xa1e\xa4data\x91\xa1e"), Member("data")),
        (packet(b"\x83\xa4type\x02\xa4data\x91\xa1e\xa3nsp\xc0"), Member("nsp")),
        (packet(b"\x83\xa4type\x02\xa4data\x91\xa1e\xa3nsp\xa1x"), Namespace),
        (packet(b"\x83\xa4type\x02\xa4data\x91\xa1e\xa3nsp\xa0"), Namespace),
        (packet(&long), Namespace),
        (packet(b"\x83\xa4type\x02\xa4data\x91\xa1e\xc0\xc0"), MemberName),
        (opts(b"\xc0"), Member("opts")),
        (opts(b"\x90"), Member("opts")),
        (opts(b"\x81\xa5rooms\xa3abc"), Member("rooms")),
        (opts(b"\x81\xa5rooms\x91\xc0"), Member("rooms")),
        (opts(b"\x81\xa6except\x01"), Member("except")),
        (opts(b"\x82\xa5rooms\x90\xa5rooms\x90"), Member("rooms")),
        (opts(b"\x81\xa5flags\x01"), Member("flags")),
        (opts(&names.concat()), TooManyRooms),
        (with_data(b"\x90"), EventName),
        (with_data(b"\xa1e"), EventName),
        (with_data(b"\xc0"), EventName),
        (with_data(b"\x91\xc0"), EventName),
        (with_data(b"\x91\x91\xa1e"), EventName),
        (with_data(b"\x91\xc4\x01e"), EventName),
        (with_data(b"\x91\xcb\x7f\xf8\0\0\0\0\0\0"), EventName),
        (with_data(b"\x91\xa7connect"), EventReserved),
        (with_data(b"\x91\xaddisconnecting"), EventReserved),
        (with_data(b"\x92\xa1e\xd4\x05\0"), Extension),
        (with_data(b"\x92\xa1e\xa1\xff"), NotUtf8),
        (with_data(b"\x92\xa1e\x81\x90\x01"), MemberName),
        (with_data(&attached), TooManyAttachments),
        (with_data(b"\x93\xa1e\x82\xac_placeholder\xc3\xa3num\x07\xc4\x01x"), Placeholder),
        (vec![0xc0; PAYLOAD_BYTES_MAX + 1], TooLarge),
    ];
    for (payload, rule) in rows {
        assert_eq!(Broadcast::decode(payload), Err(*rule), "{:x?}", &payload[..payload.len().min(80)]);
    }
}

#[test]
fn what_is_missing_and_need_not_be_there_is_empty() {
    let expected = from_emitter(r#"["e"]"#);
    let payloads: [&[u8]; 3] = [
        // No `nsp`, which is `/` then, and no options at all.
        b"\x93\xa7emitter\x82\xa4type\x02\xa4data\x91\xa1e\x80",
        b"\x93\xa7emitter\x82\xa4type\x02\xa4data\x91\xa1e\x83\xa5rooms\xc0\xa6except\xd4\0\0\xa5flags\xc0",
        // The id of an ack, and other members of no meaning here.
        b"\x93\xa7emitter\x84\xa4type\x02\xa2id\x07\xa1x\x92\xc0\x81\xa1a\xd4\0\0\xa4data\x91\xa1e\x81\xa1x\xc0",
    ];
    for payload in payloads {
        assert_eq!(Broadcast::decode(payload).as_ref(), Ok(&expected), "{payload:x?}");
    }
    // Rooms may be numbers; a flag is set by `true` and by nothing else.
    let payload = b"\x93\xa7emitter\x82\xa4type\x02\xa4data\x91\xa1e\x82\xa5rooms\x92\x07\xcb\x3f\xe0\0\0\0\0\0\0\xa5flags\x81\xa8volatile\x01";
    assert_eq!(Broadcast::decode(payload), Ok(to(&["7", "0.5"], expected)));
}

#[test]
fn nesting_is_bounded_both_ways() {
    let depth = DEPTH_MAX as usize;
    let json = |levels: usize| format!(r#"["e",{}{}]"#, "[".repeat(levels - 1), "]".repeat(levels - 1));
    let data = |levels: usize| [&b"\x92\xa1e"[..], &vec![0x91; levels - 2], b"\x90"].concat();
    let maps = |levels: usize| [&b"\x92\xa1e"[..], &b"\x81\xa1a".repeat(levels - 2), b"\x80"].concat();
    assert!(json_of(&data(depth)).is_ok() && json_of(&maps(depth)).is_ok());
    assert_eq!(data_of(&json(depth), &[]), Ok(data(depth)));
    for levels in [depth + 1, depth + 2, 100_000] {
        assert_eq!(json_of(&data(levels)), Err(Malformed::TooDeep));
        assert_eq!(json_of(&maps(levels)), Err(Malformed::TooDeep));
        assert_eq!(data_of(&json(levels), &[]), Err(Malformed::TooDeep));
    }
}

#[test]
fn what_would_end_a_node_or_its_clients_is_not_written() {
    use Malformed::{EventName, EventReserved, Json, Namespace, NotUtf8, TooLarge, TooManyAttachments, TooManyRooms};
    for (json, rule) in [
        ("", Json),
        ("{}", Json),
        ("[", Json),
        (r#"["e""#, Json),
        (r#"["e",]"#, Json),
        (r#"["e"]x"#, Json),
        (r#"["e",01]"#, Json),
        (r#"["e",tru]"#, Json),
        (r#"["e",{1:2}]"#, Json),
        (r#"["e",{"a" 2}]"#, Json),
        (r#"["e",[1}]"#, Json),
        (r#"["e","]"#, Json),
        ("[]", EventName),
        ("[null]", EventName),
        (r#"[["e"]]"#, EventName),
        (r#"["disconn\u0065ct"]"#, EventReserved),
    ] {
        assert_eq!(data_of(json, &[]), Err(rule), "{json}");
    }
    let event = from_node(r#"["e"]"#, &[]);
    let not_utf8 = Broadcast { json: b"[\"\xff\"]".to_vec(), ..event.clone() };
    assert_eq!(not_utf8.encode(), Err(NotUtf8));
    for namespace in ["", "chat", &format!("/{}", "x".repeat(NAMESPACE_BYTES_MAX))] {
        assert_eq!(Broadcast { namespace: namespace.into(), ..event.clone() }.encode(), Err(Namespace), "{namespace}");
    }
    assert_eq!(to(&["r"; ROOMS_MAX + 1], event.clone()).encode(), Err(TooManyRooms));
    assert!(to(&["r"; ROOMS_MAX], event).encode().is_ok());
    assert_eq!(data_of(&format!(r#"["{}"]"#, "x".repeat(PAYLOAD_BYTES_MAX)), &[]), Err(TooLarge));
    let many: String = (0..=ATTACHMENTS_MAX).map(|num| format!(r#",{{"_placeholder":true,"num":{num}}}"#)).collect();
    let bytes = [&b"x"[..]; 11];
    assert_eq!(data_of(&format!(r#"["e"{many}]"#), &bytes), Err(TooManyAttachments));
}

#[test]
fn no_object_of_another_node_is_given_a_prototype() {
    let bytes = r#"["e",{"__proto__":{"_placeholder":true,"num":0},"a":1,"\u005f_proto__":{"b":[]}}]"#;
    assert_eq!(data_of(bytes, &[b"x"]).as_deref(), Ok(&b"\x92\xa1e\x81\xa1a\x01"[..]));
    assert_eq!(data_of(r#"["e",{"__proto__":null}]"#, &[]).as_deref(), Ok(&b"\x92\xa1e\x80"[..]));
}

/// Any JSON that a client and JavaScript read alike.
fn argument() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-(1_i64 << 53)..1 << 53).prop_map(Value::from),
        // serde_json rounds what has more digits otherwise than JavaScript and we do.
        any::<i32>().prop_map(|number| (f64::from(number) / 1024.0).into()),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 20, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..20).prop_map(Value::from),
            proptest::collection::btree_map("[a-z\"\\\\é]{0,6}", inner, 0..20).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        name in "[a-b\"\\\\é]{0,9}", args in vec(argument(), 0..4), attachments in vec(vec(any::<u8>(), 0..300), 0..3),
        rooms in vec(".{0,40}", 0..20), except in vec(".{0,40}", 0..3), is_volatile in any::<bool>(), is_of_gate in any::<bool>(),
    ) {
        let places = (0..attachments.len()).map(|num| json!({ "_placeholder": true, "num": num }));
        let event: Vec<_> = std::iter::once(json!(name)).chain(places).chain(args).collect();
        let boxed = |names: Vec<String>| names.into_iter().map(String::into_boxed_str).collect();
        let broadcast = Broadcast {
            uid: "tg1".into(),
            namespace: "/chat".into(),
            json: serde_json::to_vec(&event).unwrap(),
            attachments,
            rooms: boxed(rooms),
            except: boxed(except),
            is_volatile,
            is_of_gate,
        };
        let read = Broadcast::decode(&broadcast.encode().unwrap()).unwrap();
        // JavaScript writes some numbers otherwise than serde_json.
        let (was, is): (Value, Value) = (serde_json::from_slice(&broadcast.json).unwrap(), serde_json::from_slice(&read.json).unwrap());
        prop_assert_eq!(doubles(was), doubles(is));
        prop_assert_eq!(Broadcast { json: vec![], ..read.clone() }, Broadcast { json: vec![], ..broadcast });
        // And what is read is written as it was.
        prop_assert_eq!(Broadcast::decode(&read.encode().unwrap()), Ok(read));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
        let _ = Broadcast::decode(&bytes);
        let _ = Broadcast::decode(&with_data(&[&b"\x9f\xa1e"[..], &bytes].concat()));
        let text = [b"[\"e\",", &bytes[..], b"]"].concat();
        for json in [bytes, text] {
            let _ = Broadcast { json, attachments: vec![vec![1]], ..from_node("", &[]) }.encode();
        }
    }
}

/// JavaScript has one kind of number.
fn doubles(value: Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.into_iter().map(doubles).collect(),
        Value::Object(members) => members.into_iter().map(|(name, value)| (name, doubles(value))).collect(),
        other => other,
    }
}
