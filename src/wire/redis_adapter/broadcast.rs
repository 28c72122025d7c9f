//! A broadcast: MessagePack of `[uid, packet, options]`.

use rmp::encode as msgpack;

use super::{
    PAYLOAD_BYTES_MAX, ROOMS_MAX,
    from_json::write_event,
    malformed::Malformed,
    reader::{Reader, Token},
    to_json::{Event, name},
};
use crate::wire::socketio::packet::NAMESPACE_BYTES_MAX;

/// An event for the clients of some rooms.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Broadcast {
    /// Who published it: a node with an adapter, `emitter`, or a gate.
    pub uid: Box<str>,
    /// The namespace, with its slash.
    pub namespace: Box<str>,
    /// The JSON array of the event, with a placeholder for each attachment, as socket.io-parser writes it.
    pub json: Vec<u8>,
    /// Its attachments, in order.
    pub attachments: Vec<Vec<u8>>,
    /// The rooms whose clients get it; none: all of the namespace.
    pub rooms: Vec<Box<str>>,
    /// The rooms whose clients do not get it.
    pub except: Vec<Box<str>>,
    /// The flag `volatile`.
    pub is_volatile: bool,
    /// The flag of a gate (`tg`), by which a gate knows what another one has published.
    pub is_of_gate: bool,
}

/// The number of the type of an event among packets; the adapter writes it for events with attachments too.
const EVENT: u64 = 2;

/// The namespace of a packet that names none.
const MAIN: &str = "/";

const VOLATILE: &str = "volatile";
const OF_GATE: &str = "tg";

impl Broadcast {
    /// Reads what a node with an adapter, an emitter, or another gate has published.
    ///
    /// It is strict where a node would fail, or its clients; members of no meaning to a client are passed over, as is the id
    /// of an ack, which would go nowhere.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(Malformed::TooLarge);
        }
        let mut reader = Reader::new(payload);
        if reader.next()? != Token::Array(3) {
            return Err(Malformed::Envelope);
        }
        let Token::Text(uid) = reader.next()? else { return Err(Malformed::Member("uid")) };
        let packet = Packet::read(&mut reader)?;
        let options = Options::read(&mut reader)?;
        reader.end()?;
        Ok(Self {
            uid: uid.into(),
            namespace: packet.namespace.unwrap_or(MAIN).into(),
            json: packet.event.json,
            attachments: packet.event.attachments,
            rooms: options.rooms,
            except: options.except,
            is_volatile: options.is_volatile,
            is_of_gate: options.is_of_gate,
        })
    }

    /// Writes it as the adapter does: byte for byte, but for the flag of a gate.
    ///
    /// It is read back before it is returned, because a node ends by what it cannot read, and no service is to end by what a
    /// gate publishes.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn encode(&self) -> Result<Vec<u8>, Malformed> {
        let attached: usize = self.attachments.iter().map(Vec::len).sum();
        let mut out = Vec::with_capacity((self.json.len() + attached + 64).min(PAYLOAD_BYTES_MAX));
        self.write(&mut out)?;
        Self::decode(&out)?;
        Ok(out)
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        written(msgpack::write_array_len(out, 3));
        written(msgpack::write_str(out, &self.uid));
        written(msgpack::write_map_len(out, 3));
        written(msgpack::write_str(out, "type"));
        written(msgpack::write_uint(out, EVENT));
        written(msgpack::write_str(out, "data"));
        write_event(&self.json, &self.attachments, out)?;
        written(msgpack::write_str(out, "nsp"));
        written(msgpack::write_str(out, &self.namespace));
        written(msgpack::write_map_len(out, 3));
        for (list, names) in [("rooms", &self.rooms), ("except", &self.except)] {
            let len = u32::try_from(names.len()).map_err(|_| Malformed::TooManyRooms)?;
            written(msgpack::write_str(out, list));
            written(msgpack::write_array_len(out, len));
            names.iter().for_each(|name| written(msgpack::write_str(out, name)));
        }
        written(msgpack::write_str(out, "flags"));
        written(msgpack::write_map_len(out, u32::from(self.is_volatile) + u32::from(self.is_of_gate)));
        if self.is_volatile {
            written(msgpack::write_str(out, VOLATILE));
            written(msgpack::write_bool(out, true));
        }
        if self.is_of_gate {
            written(msgpack::write_str(out, OF_GATE));
            written(msgpack::write_uint(out, 1));
        }
        Ok(())
    }
}

/// The packet of a broadcast.
struct Packet<'a> {
    namespace: Option<&'a str>,
    event: Event,
}

impl<'a> Packet<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let Token::Map(members) = reader.next()? else { return Err(Malformed::Member("packet")) };
        let (mut kind, mut namespace, mut event) = (None, None, None);
        for _ in 0..members {
            match &*name(reader.next()?)? {
                "type" => once("type", &mut kind, reader.next()?)?,
                "nsp" => once("nsp", &mut namespace, read_namespace(reader)?)?,
                "data" => once("data", &mut event, Event::read(reader)?)?,
                _ => pass_over(reader)?,
            }
        }
        match kind {
            Some(Token::Unsigned(EVENT)) => {}
            Some(_) => return Err(Malformed::PacketType),
            None => return Err(Malformed::Member("type")),
        }
        Ok(Self { namespace, event: event.ok_or(Malformed::Member("data"))? })
    }
}

fn read_namespace<'a>(reader: &mut Reader<'a>) -> Result<&'a str, Malformed> {
    let Token::Text(namespace) = reader.next()? else { return Err(Malformed::Member("nsp")) };
    let is_one = namespace.starts_with('/') && namespace.len() <= NAMESPACE_BYTES_MAX;
    if is_one { Ok(namespace) } else { Err(Malformed::Namespace) }
}

/// The options of a broadcast.
#[derive(Default)]
struct Options {
    rooms: Vec<Box<str>>,
    except: Vec<Box<str>>,
    is_volatile: bool,
    is_of_gate: bool,
}

impl Options {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let Token::Map(members) = reader.next()? else { return Err(Malformed::Member("opts")) };
        let (mut rooms, mut except, mut flags) = (None, None, None);
        for _ in 0..members {
            match &*name(reader.next()?)? {
                "rooms" => once("rooms", &mut rooms, read_names("rooms", reader)?)?,
                "except" => once("except", &mut except, read_names("except", reader)?)?,
                "flags" => once("flags", &mut flags, read_flags(reader)?)?,
                _ => pass_over(reader)?,
            }
        }
        let (is_volatile, is_of_gate) = flags.unwrap_or_default();
        Ok(Self { rooms: rooms.unwrap_or_default(), except: except.unwrap_or_default(), is_volatile, is_of_gate })
    }
}

fn read_names(list: &'static str, reader: &mut Reader<'_>) -> Result<Vec<Box<str>>, Malformed> {
    match reader.next()? {
        Token::Nil | Token::Undefined => Ok(Vec::new()),
        Token::Array(names) if names > ROOMS_MAX => Err(Malformed::TooManyRooms),
        Token::Array(names) => {
            (0..names).map(|_| name(reader.next()?).map(Box::from).map_err(|_| Malformed::Member(list))).collect()
        }
        _ => Err(Malformed::Member(list)),
    }
}

/// Whether it is volatile, and of a gate.
fn read_flags(reader: &mut Reader<'_>) -> Result<(bool, bool), Malformed> {
    let members = match reader.next()? {
        Token::Nil | Token::Undefined => 0,
        Token::Map(members) => members,
        _ => return Err(Malformed::Member("flags")),
    };
    let (mut is_volatile, mut is_of_gate) = (false, false);
    for _ in 0..members {
        let flag = name(reader.next()?)?;
        let value = reader.next()?;
        match &*flag {
            VOLATILE => is_volatile = value == Token::Bool(true),
            OF_GATE => is_of_gate = value == Token::Unsigned(1),
            _ => {}
        }
        reader.skip(value)?;
    }
    Ok((is_volatile, is_of_gate))
}

fn pass_over(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    let value = reader.next()?;
    reader.skip(value)
}

fn once<T>(member: &'static str, place: &mut Option<T>, value: T) -> Result<(), Malformed> {
    if place.replace(value).is_some() { Err(Malformed::Member(member)) } else { Ok(()) }
}

fn written<T, E: std::fmt::Debug>(result: Result<T, E>) {
    result.expect("writing to a Vec cannot fail");
}

#[cfg(test)]
mod tests;
