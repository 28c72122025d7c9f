//! Names with `*` for any run of characters: how rules name events and namespaces.

use memchr::memmem;

use crate::fault::{Fault, Faults};

/// The longest pattern, in bytes. Names of events and namespaces are shorter.
pub const PATTERN_MAX_BYTES: usize = 256;

/// A name, or a pattern in which each `*` stands for any number of characters, including none.
///
/// There is no other special character. Matching takes time linear in the name, whatever the pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// `*`: every name.
    Any,
    /// Without `*`: this name alone.
    Exact(Box<str>),
    /// The text before the first `*`, the texts between them in order, and the text after the last.
    Wildcard {
        /// How the name begins.
        prefix: Box<str>,
        /// What follows, each part behind the one before.
        middle: Box<[Box<str>]>,
        /// How it ends.
        suffix: Box<str>,
    },
}

/// Why a text is not a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// An empty pattern matches nothing.
    #[error("is empty; write a name, or \"*\" for every name")]
    Empty,
    /// Longer than [`PATTERN_MAX_BYTES`].
    #[error("has {0} bytes; a pattern has at most {PATTERN_MAX_BYTES}")]
    TooLong(usize),
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError`] for a text that is empty or too long.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > PATTERN_MAX_BYTES {
            return Err(PatternError::TooLong(text.len()));
        }
        let Some((prefix, rest)) = text.split_once('*') else {
            return Ok(Self::Exact(text.into()));
        };
        let (middle, suffix) = rest.rsplit_once('*').unwrap_or(("", rest));
        let middle: Box<[_]> = middle.split('*').filter(|part| !part.is_empty()).map(Box::from).collect();
        if prefix.is_empty() && middle.is_empty() && suffix.is_empty() {
            return Ok(Self::Any);
        }
        Ok(Self::Wildcard { prefix: prefix.into(), middle, suffix: suffix.into() })
    }

    /// Whether each name that `other` matches is matched.
    fn covers(&self, other: &Self) -> bool {
        // A `*` stands for itself too, and no text of a pattern has one, so it is matched by a `*` alone.
        let text = match other {
            Self::Any => "*".to_owned(),
            Self::Exact(name) => name.to_string(),
            Self::Wildcard { prefix, middle, suffix } => {
                let middle: String = middle.iter().map(|part| format!("*{part}")).collect();
                format!("{prefix}{middle}*{suffix}")
            }
        };
        self.matches(text)
    }

    /// Whether `name`, as text or as its UTF-8 bytes, matches.
    #[must_use]
    pub fn matches(&self, name: impl AsRef<[u8]>) -> bool {
        let name = name.as_ref();
        match self {
            Self::Any => true,
            Self::Exact(only) => only.as_bytes() == name,
            Self::Wildcard { prefix, middle, suffix } => {
                let inner = name.strip_prefix(prefix.as_bytes());
                let inner = inner.and_then(|rest| rest.strip_suffix(suffix.as_bytes()));
                let Some(mut inner) = inner else { return false };
                // The leftmost match is as good as any other, so nothing is tried twice.
                middle.iter().all(|part| match memmem::find(inner, part.as_bytes()) {
                    Some(at) => {
                        inner = &inner[at + part.len()..];
                        true
                    }
                    None => false,
                })
            }
        }
    }
}

/// Several patterns, one of which has to match.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Patterns(Box<[Pattern]>);

impl Patterns {
    /// Reads each of `texts`.
    ///
    /// # Errors
    /// Each text that is not a pattern, or that names nothing that another one does not name. `key` is the name of the list
    /// in the configuration.
    pub fn compile(key: &str, texts: &[String]) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        let one = |(at, text): (usize, &String)| {
            Pattern::parse(text).map_err(|error| Fault::new(format!("{key}[{at}]"), error.to_string()))
        };
        let patterns: Vec<_> =
            texts.iter().enumerate().filter_map(|(at, text)| Some((at, faults.keep(one((at, text)))?))).collect();
        // An entry without an effect is a mistake: what is meant stands somewhere else, or was meant to be narrower.
        for (at, pattern) in &patterns {
            let names_all_of_it = |(other, wider): &&(usize, Pattern)| {
                // Of two that name the same the first one stays.
                other != at && wider.covers(pattern) && (other < at || !pattern.covers(wider))
            };
            if let Some((other, _)) = patterns.iter().find(names_all_of_it) {
                let message = format!(
                    "is {:?} and has no effect: {:?} names all of it; leave one of them out",
                    texts[*at], texts[*other]
                );
                faults.add(format!("{key}[{at}]"), message);
            }
        }
        faults.finish(Some(Self(patterns.into_iter().map(|(_, pattern)| pattern).collect())))
    }

    /// Whether one of them matches `name`, as text or as its UTF-8 bytes.
    #[must_use]
    pub fn matches(&self, name: impl AsRef<[u8]>) -> bool {
        let name = name.as_ref();
        self.0.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether every name matches.
    #[must_use]
    pub fn match_all(&self) -> bool {
        self.0.contains(&Pattern::Any)
    }

    /// Whether the list is empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, taken literally. Exponential, for short texts only.
    fn naive(pattern: &[u8], name: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((b'*', rest)) => (0..=name.len()).any(|skip| naive(rest, &name[skip..])),
            Some((byte, rest)) => name.split_first().is_some_and(|(first, tail)| first == byte && naive(rest, tail)),
        }
    }

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*", "anything", true),
            ("**", "anything", true),
            ("chat", "chat", true),
            ("chat", "chat2", false),
            ("chat", "Chat", false),
            ("agent:*", "agent:learning", true),
            ("agent:*", "agent:", true),
            ("agent:*", "agent", false),
            ("*:join", "lesson:join", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("é*", "etat", false),
            ("é*", "été", true),
            ("/tenant-*", "/tenant-7", true),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_has_bounds() {
        assert_eq!(Pattern::parse(""), Err(PatternError::Empty));
        assert_eq!(Pattern::parse(&"a".repeat(257)), Err(PatternError::TooLong(257)));
        assert!(Pattern::parse(&"a".repeat(256)).is_ok());
    }

    #[test]
    fn an_entry_without_an_effect_is_told() {
        let told = |texts: &[&str]| {
            let texts: Vec<_> = texts.iter().map(|&text| text.to_owned()).collect();
            Patterns::compile("events", &texts).err().map(|faults| faults[0].to_string())
        };
        for texts in [&["a", "b"][..], &["a*", "*b", "b*a"], &["a*b", "a*c", "ac*"], &["*"], &["a*b", "a*b*c"]] {
            assert_eq!(told(texts), None, "{texts:?}");
        }
        for (texts, at, by) in [
            (&["a", "a"][..], 1, "a"),
            (&["*", "**"], 1, "*"),
            (&["*", "a"], 1, "*"),
            (&["chat:send", "chat:*"], 0, "chat:*"),
            (&["a*", "a*b"], 1, "a*"),
            (&["x", "a*b*c", "a*c"], 1, "a*c"),
            (&["a*", "b", "a**"], 2, "a*"),
        ] {
            let expected = format!(
                "events[{at}] is {:?} and has no effect: {by:?} names all of it; leave one of them out",
                texts[at]
            );
            assert_eq!(told(texts), Some(expected), "{texts:?}");
        }
    }

    #[test]
    fn a_hostile_name_costs_linear_time() {
        let pattern = Pattern::parse(&"a*".repeat(128)).unwrap();
        let name = "a".repeat(120) + &"b".repeat(1_000_000);
        let start = std::time::Instant::now();
        assert!(!pattern.matches(&name));
        assert!(start.elapsed() < std::time::Duration::from_secs(1));
    }

    proptest! {
        #[test]
        fn what_is_covered_is_matched(wide in "[ab*]{1,6}", narrow in "[ab*]{1,6}", name in "[abc]{0,8}") {
            let (wide, narrow) = (Pattern::parse(&wide).unwrap(), Pattern::parse(&narrow).unwrap());
            prop_assert!(!wide.covers(&narrow) || !narrow.matches(&name) || wide.matches(&name));
        }

        #[test]
        fn it_matches_what_the_definition_says(pattern in "[ab*]{1,8}", name in "[ab]{0,10}") {
            prop_assert_eq!(
                Pattern::parse(&pattern).unwrap().matches(&name),
                naive(pattern.as_bytes(), name.as_bytes())
            );
        }
    }
}
