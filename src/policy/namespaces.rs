//! Which namespaces clients may join.

use super::{
    pattern::Patterns,
    verdict::{Refusal, RefusalKind},
};
use crate::fault::Fault;

/// The name of the list in errors.
const KEY: &str = "socketio.namespaces";

/// The namespaces of `socketio.namespaces`.
#[derive(Debug, Clone)]
pub struct Namespaces {
    allowed: Patterns,
    all: bool,
}

impl Namespaces {
    /// The answer to a CONNECT for any other namespace. The words are those of a Socket.IO server.
    pub const REFUSAL: Refusal =
        Refusal { kind: RefusalKind::Forbidden, code: "forbidden", message: "Invalid namespace", rule: None };

    /// Reads names and patterns, each `*` or beginning with `/`.
    ///
    /// # Errors
    /// The first entry that no namespace can match.
    pub fn compile(list: &[String]) -> Result<Self, Fault> {
        if let Some(at) = list.iter().position(|text| !text.is_empty() && !text.starts_with(['/', '*'])) {
            let message = format!("is {:?}; a namespace begins with \"/\", or write \"*\"", list[at]);
            return Err(Fault::new(format!("{KEY}[{at}]"), message));
        }
        let allowed = Patterns::compile(KEY, list)?;
        let all = allowed.match_all();
        Ok(Self { allowed, all })
    }

    /// Whether clients may join `name`. The main namespace is `/`.
    #[must_use]
    pub fn admits(&self, name: &str) -> bool {
        self.all || self.allowed.matches(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_listed_may_be_joined() {
        let list = ["/".to_owned(), "/tenant-*".to_owned()];
        let namespaces = Namespaces::compile(&list).unwrap();
        for (name, expected) in [("/", true), ("/tenant-7", true), ("/admin", false), ("", false), ("/Tenant-7", false)]
        {
            assert_eq!(namespaces.admits(name), expected, "{name}");
        }
        assert!(Namespaces::compile(&["*".to_owned()]).unwrap().admits("/admin"));
        assert!(!Namespaces::compile(&[]).unwrap().admits("/"));
    }

    #[test]
    fn an_entry_no_namespace_can_match_is_an_error() {
        for (text, message) in [
            ("admin", "socketio.namespaces[1] is \"admin\"; a namespace begins with \"/\", or write \"*\""),
            ("", "socketio.namespaces[1] is empty; write a name, or \"*\" for every name"),
        ] {
            let error = Namespaces::compile(&["/".to_owned(), text.to_owned()]).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }
}
