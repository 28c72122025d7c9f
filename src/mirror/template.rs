//! Names of rooms with placeholders: `tenant:{claims.tid}`.

use std::{borrow::Cow, fmt, sync::Arc};

use crate::{
    policy::identity::Details,
    wire::json::path::{element, member, scalar},
};

/// The longest name of a room, in bytes. It is a part of a channel's name, and is kept for each of its clients.
pub const ROOM_MAX_BYTES: usize = 256;

/// The longest template, in bytes.
const TEMPLATE_MAX_BYTES: usize = 512;

/// The highest number of an argument.
const ARGUMENT_MAX: usize = 15;

/// The name of a room, parts of which are filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Box<[Part]>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    /// A claim of the verified token. Its name is one piece, for names of claims may be URLs.
    Claim(Arc<str>),
    /// What the client says in CONNECT.
    Auth(Box<[Box<str>]>),
    /// Of an event.
    Argument(Argument),
}

/// An argument of an event or of an ack, or what is in it: `arg0.lesson.id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    at: usize,
    members: Box<[Box<str>]>,
}

/// What placeholders are filled from.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// What is known of the token by which the client is in the namespace. `None`: it has no claims.
    pub token: Option<&'a Details>,
    /// The JSON that the client said in CONNECT; empty where it said none.
    pub auth: &'a [u8],
    /// The JSON array of an event; empty where there is none.
    pub event: &'a [u8],
}

/// Why a text is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// No room has an empty name.
    #[error("is empty; name the room, for example \"user:{{claims.sub}}\"")]
    Empty,
    /// Longer than a template may be.
    #[error("has {0} bytes; it may have at most {TEMPLATE_MAX_BYTES}")]
    TooLong(usize),
    /// A brace without the other one.
    #[error("is {0:?}, in which a brace stands alone; for a brace in the name itself write it twice")]
    Brace(String),
    /// Something else in braces.
    #[error(
        "is {0:?}, in which {{{1}}} is no placeholder; write {{claims.NAME}}, {{auth.NAME}} or {{argN.NAME}} with N from 0 to \
         {ARGUMENT_MAX}"
    )]
    Unknown(String, String),
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// See [`TemplateError`].
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.is_empty() {
            return Err(TemplateError::Empty);
        }
        if text.len() > TEMPLATE_MAX_BYTES {
            return Err(TemplateError::TooLong(text.len()));
        }
        let alone = || TemplateError::Brace(text.to_owned());
        let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            let behind = &rest[at + 1..];
            if let Some(behind) = behind.strip_prefix(brace) {
                plain.push_str(brace);
                rest = behind;
                continue;
            }
            let (name, behind) = behind.split_once('}').filter(|_| brace == "{").ok_or_else(alone)?;
            if name.contains('{') {
                return Err(alone());
            }
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain).into()));
            }
            let unknown = || TemplateError::Unknown(text.to_owned(), name.to_owned());
            parts.push(Part::placeholder(name).ok_or_else(unknown)?);
            rest = behind;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain.into()));
        }
        Ok(Self(parts.into()))
    }

    /// The name with every placeholder filled in. `None`: one of them stands for nothing, or for more than a string, an integer
    /// or a boolean, or the name is longer than [`ROOM_MAX_BYTES`].
    #[must_use]
    pub fn resolve(&self, source: &Source<'_>) -> Option<Box<str>> {
        let mut room = String::new();
        for part in &self.0 {
            let text = match part {
                Part::Text(text) => Cow::Borrowed(&**text),
                Part::Claim(name) => Cow::Borrowed(source.token?.claim(name)?),
                Part::Auth(names) => scalar(inside(source.auth, names)?)?,
                Part::Argument(argument) => argument.of_event(source.event)?,
            };
            if text.is_empty() || room.len() + text.len() > ROOM_MAX_BYTES {
                return None;
            }
            room.push_str(&text);
        }
        Some(room.into())
    }

    /// The claims that it names.
    pub fn claims(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.iter().filter_map(|part| if let Part::Claim(name) = part { Some(name) } else { None })
    }

    /// Whether an event fills a part of it.
    #[must_use]
    pub fn needs_event(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Argument(_)))
    }

    /// Whether a client could make it the room of another socket, with what nobody has verified: what it says in CONNECT and,
    /// with `in_events`, in an event. The id of a socket has letters, digits, `-` and `_` alone (`base64id` of socket.io), so a
    /// text with another character prevents that.
    #[must_use]
    pub fn may_name_a_socket(&self, in_events: bool) -> bool {
        let is_free = |part: &Part| matches!(part, Part::Auth(_)) || (in_events && matches!(part, Part::Argument(_)));
        let is_of_id = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_');
        let prevents = |part: &Part| matches!(part, Part::Text(text) if !text.chars().all(is_of_id));
        self.0.iter().any(is_free) && !self.0.iter().any(prevents)
    }

    /// Whether it is the same for all.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.0.iter().all(|part| matches!(part, Part::Text(_)))
    }
}

impl Part {
    fn placeholder(name: &str) -> Option<Self> {
        if let Some(claim) = name.strip_prefix("claims.") {
            return (!claim.is_empty()).then(|| Self::Claim(claim.into()));
        }
        if let Some(path) = name.strip_prefix("auth.") {
            return Some(Self::Auth(members(path)?));
        }
        Argument::parse(name).map(Self::Argument)
    }
}

impl Argument {
    /// Reads `argN` or `argN.NAME`, with a dot before each further name. `None`: it is neither.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("arg")?;
        let (at, path) = rest.split_once('.').map_or((rest, None), |(at, path)| (at, Some(path)));
        // A sign or a zero in front would be another spelling of the same number.
        let number: usize =
            at.parse().ok().filter(|number: &usize| number.to_string() == at && *number <= ARGUMENT_MAX)?;
        Some(Self { at: number, members: path.map_or(Some(Box::default()), members)? })
    }

    /// Of an event: behind its name.
    fn of_event<'a>(&self, event: &'a [u8]) -> Option<Cow<'a, str>> {
        scalar(inside(element(event, self.at + 1)?, &self.members)?)
    }

    /// Of the array of an ack, which has no name.
    #[must_use]
    pub fn of_ack<'a>(&self, ack: &'a [u8]) -> Option<Cow<'a, str>> {
        scalar(inside(element(ack, self.at)?, &self.members)?)
    }
}

/// The names between dots. `None`: one of them is empty.
fn members(path: &str) -> Option<Box<[Box<str>]>> {
    let names = path.split('.').map(|name| (!name.is_empty()).then(|| Box::from(name)));
    names.collect()
}

fn inside<'a>(value: &'a [u8], names: &[Box<str>]) -> Option<&'a [u8]> {
    names.iter().try_fold(value, |value, name| member(value, name))
}

/// As it is written in the configuration.
impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arg{}", self.at)?;
        self.members.iter().try_for_each(|name| write!(f, ".{name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ada() -> Details {
        let claims = [("sub", "ada"), ("https://id.example/tid", "t-1")].map(|(name, text)| (name.into(), text.into()));
        Details { claims: claims.into(), ..Details::default() }
    }

    fn resolved(template: &str, event: &str) -> Option<String> {
        let token = ada();
        let auth = br#"{"lesson":{"id":5},"empty":"","deep":[1]}"#;
        let source = Source { token: Some(&token), auth, event: event.as_bytes() };
        Template::parse(template).unwrap().resolve(&source).map(Into::into)
    }

    #[test]
    fn placeholders_are_filled_from_claims_auth_and_events() {
        let event = r#"["say",{"room":{"id":7}},"x",false]"#;
        for (template, room) in [
            ("everyone", Some("everyone")),
            ("user:{claims.sub}", Some("user:ada")),
            ("{claims.https://id.example/tid}:{claims.sub}", Some("t-1:ada")),
            ("lesson:{auth.lesson.id}", Some("lesson:5")),
            ("lesson:{arg0.room.id}!", Some("lesson:7!")),
            ("{arg1}-{arg2}", Some("x-false")),
            ("{{claims.sub}} }}{{", Some("{claims.sub} }{")),
            ("user:{claims.name}", None),
            ("lesson:{auth.empty}", None),
            ("lesson:{auth.deep}", None),
            ("lesson:{auth.lesson}", None),
            ("lesson:{arg0.room}", None),
            ("lesson:{arg3}", None),
        ] {
            assert_eq!(resolved(template, event).as_deref(), room, "{template}");
        }
        assert_eq!(resolved("{arg0}", "").as_deref(), None, "there is no event");
    }

    #[test]
    fn a_room_has_a_bounded_name() {
        let event = |len: usize| format!(r#"["say","{}"]"#, "x".repeat(len));
        assert!(resolved("ab{arg0}", &event(ROOM_MAX_BYTES - 2)).is_some());
        assert!(resolved("ab{arg0}", &event(ROOM_MAX_BYTES - 1)).is_none());
    }

    #[test]
    fn what_is_no_template_is_told() {
        for (text, told) in [
            ("", "is empty; name the room, for example \"user:{claims.sub}\""),
            ("a{b", "is \"a{b\", in which a brace stands alone; for a brace in the name itself write it twice"),
            ("a}b", "is \"a}b\", in which a brace stands alone; for a brace in the name itself write it twice"),
            ("{a{b}", "is \"{a{b}\", in which a brace stands alone; for a brace in the name itself write it twice"),
            (
                "u:{claim.sub}",
                "is \"u:{claim.sub}\", in which {claim.sub} is no placeholder; write {claims.NAME}, {auth.NAME} or \
                 {argN.NAME} with N from 0 to 15",
            ),
        ] {
            assert_eq!(Template::parse(text).unwrap_err().to_string(), told);
        }
        for text in ["{}", "{claims.}", "{auth.}", "{auth}", "{auth.a..b}", "{arg}", "{arg16}", "{arg01}", "{arg0.}"] {
            assert!(matches!(Template::parse(text), Err(TemplateError::Unknown(..))), "{text}");
        }
        assert_eq!(Template::parse(&"x".repeat(513)), Err(TemplateError::TooLong(513)));
    }

    #[test]
    fn an_argument_is_written_as_it_is_read() {
        for text in ["arg0", "arg15.a.b"] {
            assert_eq!(Argument::parse(text).unwrap().to_string(), text);
        }
    }
}
