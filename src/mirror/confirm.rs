//! Whether the service's ack of an event says that the client has joined the room that it asked for.

use super::template::Argument;
use crate::wire::json::path::{element, member, scalar};

/// Strings that agree.
const AGREES: [&str; 3] = ["ok", "success", "joined"];

/// What lets a client into a room for which it asks by an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirm {
    /// Nothing is awaited.
    Unasked,
    /// An ack that does not refuse.
    Ack,
    /// An ack that says this there.
    AckWith(Argument, Box<str>),
}

impl Confirm {
    /// Whether this ack, the JSON array of its arguments, confirms the join.
    #[must_use]
    pub fn by(&self, ack: &[u8]) -> bool {
        match self {
            Self::Unasked => true,
            Self::Ack => !refuses(ack),
            Self::AckWith(place, said) => place.of_ack(ack).as_deref() == Some(said),
        }
    }
}

/// Whether an ack refuses, by what services usually say. An ack without arguments does not, nor an object that says nothing of
/// it: most services acknowledge with nothing, or with what the client has asked for.
fn refuses(ack: &[u8]) -> bool {
    let Some(first) = element(ack, 0) else { return false };
    let disagrees = |value: &[u8]| scalar(value).is_none_or(|word| !AGREES.contains(&&*word));
    match first.first() {
        Some(b'"') => disagrees(first),
        Some(b'{') => {
            let is_false = |name: &str| member(first, name) == Some(b"false");
            let fails = member(first, "error").is_some_and(|error| error != b"null" && error != b"false");
            let status = member(first, "status").filter(|status| status.first() == Some(&b'"'));
            fails || AGREES.iter().any(|name| is_false(name)) || status.is_some_and(disagrees)
        }
        _ => first == b"false",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ack_confirms_unless_it_refuses() {
        for (ack, confirms) in [
            ("[]", true),
            ("[null]", true),
            ("[true]", true),
            ("[false]", false),
            ("[7]", true),
            (r#"["ok"]"#, true),
            (r#"["joined",5]"#, true),
            (r#"["no such lesson"]"#, false),
            (r#"[null,"data"]"#, true),
            ("[{}]", true),
            (r#"[{"lesson":5}]"#, true),
            (r#"[{"error":null,"ok":true}]"#, true),
            (r#"[{"error":false}]"#, true),
            (r#"[{"error":"no"}]"#, false),
            (r#"[{"error":{"code":7}}]"#, false),
            (r#"[{"error":""}]"#, false),
            (r#"[{"ok":false}]"#, false),
            (r#"[{"success":false}]"#, false),
            (r#"[{"joined":false}]"#, false),
            (r#"[{"status":"ok"}]"#, true),
            (r#"[{"status":"error"}]"#, false),
            (r#"[{"status":200}]"#, true),
            ("[[false]]", true),
        ] {
            assert_eq!(Confirm::Ack.by(ack.as_bytes()), confirms, "{ack}");
        }
    }

    #[test]
    fn an_ack_confirms_by_the_word_that_it_must_say() {
        let confirm = Confirm::AckWith(Argument::parse("arg0.state").unwrap(), "entered".into());
        for (ack, confirms) in [
            (r#"[{"state":"entered"}]"#, true),
            (r#"[{"state":"full"}]"#, false),
            (r#"[{"state":["entered"]}]"#, false),
            (r#"[{"state":"entered","state":"full"}]"#, false),
            (r#"["entered"]"#, false),
            ("[]", false),
        ] {
            assert_eq!(confirm.by(ack.as_bytes()), confirms, "{ack}");
        }
        let second = Confirm::AckWith(Argument::parse("arg1").unwrap(), "true".into());
        assert!(second.by(b"[null,true]") && !second.by(b"[true]"));
    }
}
