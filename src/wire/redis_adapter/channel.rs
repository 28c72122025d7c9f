//! The names of channels, and patterns for them.
//!
//! Nothing in them is escaped, so they are compared exactly: the key at the beginning, `#` at the end. A namespace has no `#`
//! in it, because to the parser of a client's URL a fragment begins there; a room may have.

/// What a channel is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named<'a> {
    /// Broadcasts.
    Broadcast {
        /// The namespace, with its slash. The packet says it too.
        namespace: &'a str,
        /// The one room that they are for. `None`: several, or all of the namespace.
        room: Option<&'a str>,
    },
    /// Requests.
    Request {
        /// The namespace, with its slash.
        namespace: &'a str,
    },
    /// Answers to requests, which are for members of the adapter's cluster.
    Response,
}

/// Where broadcasts are published: those for one room in its channel, all others in that of the namespace.
#[must_use]
pub fn broadcast(key: &str, namespace: &str, room: Option<&str>) -> String {
    room.map_or_else(|| format!("{key}#{namespace}#"), |room| format!("{key}#{namespace}#{room}#"))
}

/// A pattern of Redis for the broadcasts of all namespaces and rooms.
#[must_use]
pub fn broadcast_pattern(key: &str) -> String {
    literal(key) + "#/*"
}

/// Where requests are published. Who subscribes to it by its name is counted as a member of the adapter's cluster; who does so
/// by [`request_pattern`] is not.
#[must_use]
pub fn request(key: &str, namespace: &str) -> String {
    format!("{key}-request#{namespace}#")
}

/// A pattern of Redis for the requests of all namespaces.
#[must_use]
pub fn request_pattern(key: &str) -> String {
    literal(key) + "-request#/*"
}

/// What a channel is for. `None`: it is none of this key.
#[must_use]
pub fn parse<'a>(key: &str, channel: &'a str) -> Option<Named<'a>> {
    let rest = channel.strip_prefix(key)?;
    if let Some(rest) = rest.strip_prefix("-request#") {
        let namespace = rest.strip_suffix('#').filter(|namespace| is_namespace(namespace))?;
        return Some(Named::Request { namespace });
    }
    if let Some(rest) = rest.strip_prefix("-response#") {
        return (rest.starts_with('/') && rest.ends_with('#')).then_some(Named::Response);
    }
    let (namespace, room) = rest.strip_prefix('#')?.split_once('#')?;
    // An empty room has no channel of its own.
    let room = if room.is_empty() { None } else { Some(room.strip_suffix('#')?).filter(|room| !room.is_empty()) };
    is_namespace(namespace).then_some(Named::Broadcast { namespace, room })
}

fn is_namespace(namespace: &str) -> bool {
    namespace.starts_with('/') && !namespace.contains('#')
}

/// A pattern that only this text fits (`stringmatchlen` of Redis).
fn literal(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for char in text.chars() {
        if matches!(char, '*' | '?' | '[' | ']' | '^' | '\\') {
            pattern.push('\\');
        }
        pattern.push(char);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn channels_are_named_as_the_adapter_names_them() {
        assert_eq!(broadcast("socket.io", "/", None), "socket.io#/#");
        assert_eq!(broadcast("socket.io", "/", Some("room1")), "socket.io#/#room1#");
        assert_eq!(broadcast("socket.io", "/chat", Some("a#b")), "socket.io#/chat#a#b#");
        assert_eq!(request("socket.io", "/"), "socket.io-request#/#");
        assert_eq!(broadcast_pattern("socket.io"), "socket.io#/*");
        assert_eq!(request_pattern("socket.io"), "socket.io-request#/*");
    }

    #[test]
    fn glob_characters_of_the_key_stand_for_themselves() {
        assert_eq!(broadcast_pattern(r"a*b?[c]^\"), r"a\*b\?\[c\]\^\\#/*");
        assert_eq!(request_pattern("*"), r"\*-request#/*");
    }

    #[test]
    fn channels_of_the_key_are_known_and_no_others() {
        let broadcast = |namespace, room| Some(Named::Broadcast { namespace, room });
        let rows = [
            ("socket.io#/#", broadcast("/", None)),
            ("socket.io#/#room1#", broadcast("/", Some("room1"))),
            ("socket.io#/chat#a#b#", broadcast("/chat", Some("a#b"))),
            ("socket.io#/chat###", broadcast("/chat", Some("#"))),
            ("socket.io#/chat##", broadcast("/chat", None)),
            ("socket.io#/*#[a]?#", broadcast("/*", Some("[a]?"))),
            ("socket.io-request#/#", Some(Named::Request { namespace: "/" })),
            ("socket.io-request#/chat#", Some(Named::Request { namespace: "/chat" })),
            ("socket.io-response#/#", Some(Named::Response)),
            ("socket.io-response#/#ODiCDc#", Some(Named::Response)),
            ("socket.io", None),
            ("socket.io#", None),
            ("socket.io##", None),
            ("socket.io#/", None),
            ("socket.io#/#room1", None),
            ("socket.io#chat#", None),
            ("socket.io2#/#", None),
            ("Socket.io#/#", None),
            ("xsocket.io#/#", None),
            ("socketxio#/#", None),
            ("socket.io-request#/", None),
            ("socket.io-request#chat#", None),
            ("socket.io-request#/a#b#", None),
            ("socket.io-response#", None),
            ("", None),
        ];
        for (channel, named) in rows {
            assert_eq!(parse("socket.io", channel), named, "{channel}");
        }
    }

    /// `stringmatchlen` of Redis 7, as far as patterns of ours need it.
    fn fits(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            ([b'*', pattern @ ..], _) => (0..=text.len()).any(|at| fits(pattern, &text[at..])),
            ([b'\\', literal, pattern @ ..], [byte, text @ ..]) => literal == byte && fits(pattern, text),
            ([b'?', pattern @ ..], [_, text @ ..]) => fits(pattern, text),
            ([b'[', ..], _) => panic!("a class"),
            ([literal, pattern @ ..], [byte, text @ ..]) => literal == byte && fits(pattern, text),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn what_is_named_is_parsed_and_fits_the_pattern_of_its_key_and_of_no_other(
            key in r"[a-c*?\[\]^\\#.-]{0,4}", other in r"[a-c*?\[\]^\\#.-]{0,4}", namespace in "/[a-z*/?]{0,4}", room in ".{0,6}",
        ) {
            let room = Some(&*room).filter(|room| !room.is_empty());
            let (broadcast, request) = (broadcast(&key, &namespace, room), request(&key, &namespace));
            prop_assert_eq!(parse(&key, &broadcast), Some(Named::Broadcast { namespace: &namespace, room }));
            prop_assert_eq!(parse(&key, &request), Some(Named::Request { namespace: &namespace }));
            prop_assert!(fits(broadcast_pattern(&key).as_bytes(), broadcast.as_bytes()));
            prop_assert!(fits(request_pattern(&key).as_bytes(), request.as_bytes()));
            prop_assert_eq!(
                fits(broadcast_pattern(&other).as_bytes(), broadcast.as_bytes()),
                broadcast.starts_with(&format!("{other}#/")),
            );
        }
    }
}
