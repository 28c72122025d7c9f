//! The packets that the gate writes itself, to a client or in its place. Each is appended as text, after the Engine.IO `4`.

use std::io::Write as _;

use serde_json::Value;

use super::packet::PacketType;
use crate::wire::engineio::id::Pid;

/// The namespace was not joined: `44/ns,{"message":"…","data":{"code":"…"}}`. Official clients stop at it.
pub fn connect_error(namespace: &str, message: &str, code: &str, out: &mut Vec<u8>) {
    head(PacketType::ConnectError, namespace, out);
    text(out, format_args!(r#"{{"message":{},"data":{{"code":{}}}}}"#, Value::from(message), Value::from(code)));
}

/// The same with the HTTP status of the service that did not let the client in.
pub fn connect_error_of_service(namespace: &str, message: &str, code: &str, status: u16, out: &mut Vec<u8>) {
    head(PacketType::ConnectError, namespace, out);
    let (message, code) = (Value::from(message), Value::from(code));
    text(out, format_args!(r#"{{"message":{message},"data":{{"code":{code},"status":{status}}}}}"#));
}

/// The answer to the event that asked for it by `id`, with one argument that is JSON already: `43/ns,7[…]`.
pub fn ack(namespace: &str, id: u64, json_arg: &str, out: &mut Vec<u8>) {
    head(PacketType::Ack, namespace, out);
    text(out, format_args!("{id}[{json_arg}]"));
}

/// An event with one argument that is JSON already: `42/ns,["name",…]`.
pub fn event(namespace: &str, name: &str, json_arg: &str, out: &mut Vec<u8>) {
    head(PacketType::Event, namespace, out);
    text(out, format_args!("[{},{json_arg}]", Value::from(name)));
}

/// An event whose JSON array is written already, before so many attachments: `42/ns,[…]` or `452-/ns,[…]`.
pub fn whole_event(namespace: &str, json: &[u8], attachments: usize, out: &mut Vec<u8>) {
    if attachments == 0 {
        head(PacketType::Event, namespace, out);
    } else {
        out.extend_from_slice(&[b'4', PacketType::BinaryEvent.digit()]);
        text(out, format_args!("{attachments}-"));
        put_namespace(namespace, out);
    }
    out.extend_from_slice(json);
}

/// Asks to join a namespace: `40/ns,{…}` with the JSON that the client sent, if any. `recovery` is the `pid` and the
/// `offset` of connection state recovery. They come last, because the last of several counts.
pub fn connect(namespace: &str, json: &[u8], recovery: Option<(&str, Option<&str>)>, out: &mut Vec<u8>) {
    head(PacketType::Connect, namespace, out);
    let members =
        if json.is_empty() { Some(&b""[..]) } else { json.strip_prefix(b"{").and_then(|j| j.strip_suffix(b"}")) };
    let (Some((pid, offset)), Some(members)) = (recovery, members) else { return out.extend_from_slice(json) };
    out.push(b'{');
    out.extend_from_slice(members);
    if !members.trim_ascii().is_empty() {
        out.push(b',');
    }
    text(out, format_args!(r#""pid":{}"#, Value::from(pid)));
    if let Some(offset) = offset {
        text(out, format_args!(r#","offset":{}"#, Value::from(offset)));
    }
    out.push(b'}');
}

/// The service's answer to CONNECT: `40/ns,{"sid":"…","pid":"…"}`. A client that gets the `pid` that it had before assumes
/// that it has missed nothing, so another `join` has another `pid`: a dot and its number are appended, unless that is 0.
pub fn connected(namespace: &str, socket_id: &str, (pid, join): (Pid, u32), out: &mut Vec<u8>) {
    head(PacketType::Connect, namespace, out);
    text(out, format_args!(r#"{{"sid":{},"pid":"{}"#, Value::from(socket_id), pid.as_str()));
    if join > 0 {
        text(out, format_args!(".{join}"));
    }
    out.extend_from_slice(br#""}"#);
}

/// The same event with one more argument, the number as a string.
pub fn with_argument(packet: &[u8], number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(packet.strip_suffix(b"]").unwrap_or(packet));
    text(out, format_args!(r#","{number}"]"#));
}

/// The same event or ack under another ack id. `data_at` is where its JSON begins, behind the id it has.
pub fn with_ack_id(packet: &[u8], data_at: usize, had: u64, id: u64, out: &mut Vec<u8>) {
    let digits = had.checked_ilog10().unwrap_or(0) as usize + 1;
    out.extend_from_slice(&packet[..data_at - digits]);
    text(out, format_args!("{id}"));
    out.extend_from_slice(&packet[data_at..]);
}

/// Disconnects from the namespace: `41/ns,`. Official clients do not reconnect by themselves.
pub fn disconnect(namespace: &str, out: &mut Vec<u8>) {
    head(PacketType::Disconnect, namespace, out);
}

fn head(kind: PacketType, namespace: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'4', kind.digit()]);
    put_namespace(namespace, out);
}

fn put_namespace(namespace: &str, out: &mut Vec<u8>) {
    if namespace != "/" {
        out.extend_from_slice(namespace.as_bytes());
        out.push(b',');
    }
}

fn text(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a Vec cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn packets_are_written_as_stock_clients_expect_them() {
        let pid = Pid::parse("AAECAwQFBgcICQoLDA0OAAECAwQF").unwrap();
        let rows: &[(String, &str)] = &[
            (
                written(|out| connect_error("/", "Authentication token required", "auth.missing", out)),
                r#"44{"message":"Authentication token required","data":{"code":"auth.missing"}}"#,
            ),
            (
                written(|out| connect_error("/chat", "say \"no\"\n", "forbidden", out)),
                r#"44/chat,{"message":"say \"no\"\n","data":{"code":"forbidden"}}"#,
            ),
            (
                written(|out| connect_error_of_service("/", "Forbidden", "upstream.refused", 403, out)),
                r#"44{"message":"Forbidden","data":{"code":"upstream.refused","status":403}}"#,
            ),
            (written(|out| ack("/", 12, r#"{"rateLimited":true}"#, out)), r#"4312[{"rateLimited":true}]"#),
            (written(|out| ack("/chat", 0, "null", out)), "43/chat,0[null]"),
            (written(|out| event("/", "rate_limited", "{}", out)), r#"42["rate_limited",{}]"#),
            (written(|out| event("/chat", "a\"b", "1", out)), r#"42/chat,["a\"b",1]"#),
            (written(|out| whole_event("/", br#"["n",1]"#, 0, out)), r#"42["n",1]"#),
            (written(|out| whole_event("/chat", br#"["n"]"#, 0, out)), r#"42/chat,["n"]"#),
            (
                written(|out| whole_event("/", br#"["n",{"_placeholder":true,"num":0}]"#, 1, out)),
                r#"451-["n",{"_placeholder":true,"num":0}]"#,
            ),
            (written(|out| whole_event("/chat", br#"["n"]"#, 10, out)), r#"4510-/chat,["n"]"#),
            // As socket.io 4.8 writes it.
            (written(|out| disconnect("/", out)), "41"),
            (written(|out| disconnect("/chat", out)), "41/chat,"),
            (written(|out| connect("/", b"", None, out)), "40"),
            (written(|out| connect("/chat", br#"{"token":"ok"}"#, None, out)), r#"40/chat,{"token":"ok"}"#),
            // As socket.io-client 4.8 writes it.
            (written(|out| connect("/", b"", Some(("p", Some("o"))), out)), r#"40{"pid":"p","offset":"o"}"#),
            (written(|out| connect("/", b"{}", Some(("p", None)), out)), r#"40{"pid":"p"}"#),
            (
                written(|out| connect("/a", br#"{"token":"t","pid":"old"}"#, Some(("p", Some("o"))), out)),
                r#"40/a,{"token":"t","pid":"old","pid":"p","offset":"o"}"#,
            ),
            (written(|out| with_ack_id(br#"42/a,10["q"]"#, 7, 10, 1234, out)), r#"42/a,1234["q"]"#),
            (written(|out| with_ack_id(br#"430[]"#, 3, 0, 7, out)), "437[]"),
            (
                written(|out| connected("/a", "x", (pid, 3), out)),
                r#"40/a,{"sid":"x","pid":"AAECAwQFBgcICQoLDA0OAAECAwQF.3"}"#,
            ),
            (
                written(|out| connected("/", "x", (pid, 0), out)),
                r#"40{"sid":"x","pid":"AAECAwQFBgcICQoLDA0OAAECAwQF"}"#,
            ),
            (written(|out| with_argument(br#"42["n",2]"#, 7, out)), r#"42["n",2,"7"]"#),
        ];
        for (written, expected) in rows {
            assert_eq!(written, expected);
        }
    }
}
