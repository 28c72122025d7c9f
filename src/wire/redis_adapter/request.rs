//! A request to all nodes: JSON or MessagePack.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

use super::{DEPTH_MAX, PAYLOAD_BYTES_MAX, ROOMS_MAX, javascript, malformed::Malformed};

/// Which sockets a request is for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sockets {
    /// Those in any of these rooms; none: all of the namespace, ...
    pub rooms: Vec<Box<str>>,
    /// ... but for those in any of these.
    pub except: Vec<Box<str>>,
}

/// A request. Those that want an answer are for members of the adapter's cluster, which a gate is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Put sockets into rooms (2).
    Join(Sockets, Vec<Box<str>>),
    /// Take sockets out of rooms (3).
    Leave(Sockets, Vec<Box<str>>),
    /// Disconnect sockets from the namespace or, with `true`, close their connections (4).
    Disconnect(Sockets, bool),
    /// An event for the other servers, which have no client (6).
    ServerSideEmit,
    /// A question to members of the cluster (0, 1, 5, 7), or what only they say to one (8, 9).
    Question,
}

/// So deep may a request in MessagePack be nested: an event in a packet in a request.
const LEVELS_MAX: usize = DEPTH_MAX as usize + 2;

impl Request {
    /// Reads a request of the adapter, also of an older one, or of the emitter. Members of no meaning here are passed over.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(Malformed::TooLarge);
        }
        let said = if payload.first() == Some(&b'{') { of_json(payload)? } else { of_msgpack(payload)? };
        match said.kind {
            2 => said.rooms_of_sockets().map(|(sockets, rooms)| Self::Join(sockets, rooms)),
            3 => said.rooms_of_sockets().map(|(sockets, rooms)| Self::Leave(sockets, rooms)),
            4 => {
                let closes = said.close.unwrap_or_default();
                said.sockets().map(|sockets| Self::Disconnect(sockets, closes))
            }
            6 => Ok(Self::ServerSideEmit),
            0 | 1 | 5 | 7..=9 => Ok(Self::Question),
            _ => Err(Malformed::RequestType),
        }
    }
}

fn of_json(payload: &[u8]) -> Result<Said, Malformed> {
    // Of members that have no meaning serde_json would not notice.
    let text = std::str::from_utf8(payload).map_err(|_| Malformed::NotUtf8)?;
    serde_json::from_str(text).map_err(|_| Malformed::Request)
}

fn of_msgpack(payload: &[u8]) -> Result<Said, Malformed> {
    let mut deserializer = rmp_serde::Deserializer::new(payload);
    deserializer.set_max_depth(LEVELS_MAX);
    let said = Said::deserialize(&mut deserializer).map_err(|_| Malformed::Request)?;
    if deserializer.get_ref().is_empty() { Ok(said) } else { Err(Malformed::Trailing) }
}

/// The members that have a meaning here.
#[derive(Debug, Deserialize)]
struct Said {
    #[serde(rename = "type")]
    kind: u64,
    opts: Option<Options>,
    rooms: Option<Vec<Name>>,
    close: Option<bool>,
    /// Of one socket, as older adapters have it instead of `opts`, ...
    sid: Option<Name>,
    /// ... and of one room.
    room: Option<Name>,
}

#[derive(Debug, Deserialize)]
struct Options {
    rooms: Option<Vec<Name>>,
    except: Option<Vec<Name>>,
}

impl Said {
    fn rooms_of_sockets(mut self) -> Result<(Sockets, Vec<Box<str>>), Malformed> {
        let (list, member) = match self.opts {
            Some(_) => (self.rooms.take(), "rooms"),
            None => (self.room.take().map(|room| vec![room]), "room"),
        };
        let rooms = names(list.ok_or(Malformed::Member(member))?)?;
        Ok((self.sockets()?, rooms))
    }

    fn sockets(self) -> Result<Sockets, Malformed> {
        let Some(opts) = self.opts else {
            // A socket is alone in the room of its id.
            let Name(sid) = self.sid.ok_or(Malformed::Member("opts"))?;
            return Ok(Sockets { rooms: vec![sid], except: Vec::new() });
        };
        let (rooms, except) = (opts.rooms.unwrap_or_default(), opts.except.unwrap_or_default());
        Ok(Sockets { rooms: names(rooms)?, except: names(except)? })
    }
}

fn names(list: Vec<Name>) -> Result<Vec<Box<str>>, Malformed> {
    if list.len() > ROOMS_MAX {
        return Err(Malformed::TooManyRooms);
    }
    Ok(list.into_iter().map(|Name(name)| name).collect())
}

/// The name of a room or the id of a socket: a string, or a number as JavaScript makes a string of it.
#[derive(Debug)]
struct Name(Box<str>);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Name;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a name")
            }

            fn visit_str<E>(self, name: &str) -> Result<Name, E> {
                Ok(Name(name.into()))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Name, E> {
                self.visit_f64(number as f64)
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Name, E> {
                self.visit_f64(number as f64)
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Name, E> {
                let mut name = Vec::new();
                javascript::write_number(number, &mut name);
                String::from_utf8(name).map(|name| Name(name.into())).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(names: &[&str]) -> Vec<Box<str>> {
        names.iter().map(|&name| name.into()).collect()
    }

    fn sockets(rooms: &[&str], except: &[&str]) -> Sockets {
        Sockets { rooms: boxed(rooms), except: boxed(except) }
    }

    fn hex(digits: &str) -> Vec<u8> {
        let digit = |digit: u8| char::from(digit).to_digit(16).unwrap() as u8;
        digits.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
    }

    #[test]
    fn requests_of_the_adapter_and_the_emitter_are_read() {
        use Request::{Disconnect, Join, Leave, Question, ServerSideEmit};
        let rows = [
            // Of @socket.io/redis-emitter 5.1.0.
            (
                r#"{"type":2,"opts":{"rooms":["room2"],"except":[]},"rooms":["r3"]}"#,
                Join(sockets(&["room2"], &[]), boxed(&["r3"])),
            ),
            (
                r#"{"type":3,"opts":{"rooms":[],"except":["a"]},"rooms":["r3","r4"]}"#,
                Leave(sockets(&[], &["a"]), boxed(&["r3", "r4"])),
            ),
            (r#"{"type":4,"opts":{"rooms":["x"],"except":[]},"close":true}"#, Disconnect(sockets(&["x"], &[]), true)),
            (r#"{"type":4,"opts":{"rooms":[],"except":[]},"close":false}"#, Disconnect(sockets(&[], &[]), false)),
            (r#"{"uid":"emitter","type":6,"data":["hello",{"a":[1]}]}"#, ServerSideEmit),
            // Of @socket.io/redis-adapter 8.3.0.
            (
                r#"{"uid":"ODiCDc","type":2,"opts":{"rooms":["a"],"except":[]},"rooms":["b"]}"#,
                Join(sockets(&["a"], &[]), boxed(&["b"])),
            ),
            (r#"{"uid":"ODiCDc","requestId":"sP4By5","type":0,"rooms":[]}"#, Question),
            (r#"{"uid":"ODiCDc","requestId":"sP4By5","type":1}"#, Question),
            (r#"{"uid":"ODiCDc","requestId":"sP4By5","type":5,"opts":{"rooms":["room1"],"except":[]}}"#, Question),
            (r#"{"uid":"ODiCDc","requestId":"sP4By5","type":6,"data":["q"]}"#, ServerSideEmit),
            (r#"{"type":8,"requestId":"6wNxgE","clientCount":1}"#, Question),
            // Of older adapters.
            (r#"{"uid":"a","requestId":"b","type":2,"sid":"s","room":"r"}"#, Join(sockets(&["s"], &[]), boxed(&["r"]))),
            (r#"{"uid":"a","requestId":"b","type":3,"sid":"s","room":7}"#, Leave(sockets(&["s"], &[]), boxed(&["7"]))),
            (r#"{"uid":"a","requestId":"b","type":4,"sid":"s","close":true}"#, Disconnect(sockets(&["s"], &[]), true)),
            // Rooms may be numbers; what is not there is empty; what has no meaning is passed over.
            (
                "{\"type\":2, \"x\":[{}],\n\"opts\":{\"rooms\":[1,-2,0.5,1e21],\"except\":null,\"flags\":{}},\"rooms\":[]}",
                Join(sockets(&["1", "-2", "0.5", "1e+21"], &[]), vec![]),
            ),
            (r#"{"type":4,"opts":{}}"#, Disconnect(sockets(&[], &[]), false)),
        ];
        for (payload, request) in rows {
            assert_eq!(Request::decode(payload.as_bytes()), Ok(request), "{payload}");
        }
    }

    #[test]
    fn requests_in_messagepack_are_read() {
        // What notepack.io 3.0.1 writes.
        let rows = [
            // {uid:"ODiCDc",requestId:"cwNxgE",type:7,packet:{type:2,data:["q",new Date(1000),Buffer.of(1)],nsp:"/"},
            //  opts:{rooms:[],except:[],flags:{timeout:1000}}}
            (
                "85a3756964a64f4469434463a9726571756573744964a663774e786745a47479706507a67061636b657483a47479706502a464617461\
                 93a171d6ff00000001c40101a36e7370a12fa46f70747383a5726f6f6d7390a665786365707490a5666c61677381a774696d656f7574\
                 cd03e8",
                Request::Question,
            ),
            // {type:9,requestId:"cwNxgE",packet:"ack-from-cb"}
            (
                "83a47479706509a9726571756573744964a663774e786745a67061636b6574ab61636b2d66726f6d2d6362",
                Request::Question,
            ),
            // {type:2,opts:{rooms:["a"],except:[]},rooms:["b"]}
            (
                "83a47479706502a46f70747382a5726f6f6d7391a161a665786365707490a5726f6f6d7391a162",
                Request::Join(sockets(&["a"], &[]), boxed(&["b"])),
            ),
        ];
        for (digits, request) in rows {
            let payload = hex(&digits.replace(char::is_whitespace, ""));
            assert_eq!(Request::decode(&payload), Ok(request), "{digits}");
            assert_eq!(Request::decode(&[&payload[..], &[0]].concat()), Err(Malformed::Trailing));
            for cut in 0..payload.len() {
                assert_eq!(Request::decode(&payload[..cut]), Err(Malformed::Request), "{digits} cut at {cut}");
            }
        }
    }

    #[test]
    fn what_is_no_request_is_refused() {
        use Malformed::{Member, RequestType, TooLarge, TooManyRooms};
        let many = serde_json::to_string(&vec!["r"; ROOMS_MAX + 1]).unwrap();
        let deep = |levels: usize| [vec![0x91; levels], vec![0xc0]].concat();
        let nested = |levels| [&b"\x82\xa4type\x07\xa1x"[..], &deep(levels)].concat();
        let rows: &[(Vec<u8>, Malformed)] = &[
            (b"".into(), Malformed::Request),
            (b"{".into(), Malformed::Request),
            (b"{}".into(), Malformed::Request),
            (b"{\"type\":7}x".into(), Malformed::Request),
            (b"{\"type\":\"2\"}".into(), Malformed::Request),
            (b"{\"type\":2,\"type\":2}".into(), Malformed::Request),
            (b"{\"type\":2,\"opts\":{\"rooms\":\"abc\"},\"rooms\":[]}".into(), Malformed::Request),
            (b"{\"type\":2,\"opts\":{\"rooms\":[null]},\"rooms\":[]}".into(), Malformed::Request),
            (b"{\"type\":4,\"opts\":{},\"close\":1}".into(), Malformed::Request),
            (b"{\"type\":7,\"x\":\"\xff\"}".into(), Malformed::NotUtf8),
            (b"[1]".into(), Malformed::Request),
            (b"\xc1".into(), Malformed::Request),
            (nested(50_000), Malformed::Request),
            (b"\xdf\xff\xff\xff\xff".into(), Malformed::Request),
            (b"{\"type\":2,\"opts\":{}}".into(), Member("rooms")),
            (b"{\"type\":2,\"sid\":\"s\"}".into(), Member("room")),
            (b"{\"type\":2,\"room\":\"r\"}".into(), Member("opts")),
            (b"{\"type\":4}".into(), Member("opts")),
            (b"{\"type\":10}".into(), RequestType),
            (b"{\"type\":18446744073709551615}".into(), RequestType),
            (format!(r#"{{"type":4,"opts":{{"rooms":{many}}}}}"#).into(), TooManyRooms),
            (format!(r#"{{"type":4,"opts":{{"except":{many}}}}}"#).into(), TooManyRooms),
            (format!(r#"{{"type":2,"opts":{{}},"rooms":{many}}}"#).into(), TooManyRooms),
            (vec![b'{'; PAYLOAD_BYTES_MAX + 1], TooLarge),
        ];
        for (payload, rule) in rows {
            let shown = String::from_utf8_lossy(&payload[..payload.len().min(80)]);
            assert_eq!(Request::decode(payload), Err(*rule), "{shown}");
        }
        assert_eq!(Request::decode(&nested(DEPTH_MAX as usize)), Ok(Request::Question));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::prelude::any::<Vec<u8>>()) {
            for bytes in [&bytes[..], &[b"{\"type\":2,", &bytes[..]].concat(), &[b"\x82\xa4type\x02", &bytes[..]].concat()] {
                let _ = Request::decode(bytes);
            }
        }
    }
}
