//! Which namespaces clients may join.

use super::{
    pattern::Patterns,
    verdict::{Refusal, RefusalKind},
};
use crate::fault::{Fault, Faults};

/// The namespaces of a list in the configuration: `socketio.namespaces` or `auth.optional_namespaces`.
#[derive(Debug, Clone)]
pub struct Namespaces {
    allowed: Patterns,
    all: bool,
}

impl Namespaces {
    /// The answer to a CONNECT for any other namespace. The words are those of a Socket.IO server.
    pub const REFUSAL: Refusal = Refusal {
        kind: RefusalKind::Forbidden,
        code: "forbidden",
        message: "Invalid namespace",
        rule: None,
        fault: None,
    };

    /// Reads names and patterns, each `*` or beginning with `/`. `key` is the name of the list.
    ///
    /// # Errors
    /// Each entry that no namespace can match.
    pub fn compile(key: &str, list: &[String]) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        for (at, text) in list.iter().enumerate() {
            if !text.is_empty() && !text.starts_with(['/', '*']) {
                faults
                    .add(format!("{key}[{at}]"), format!("is {text:?}; a namespace begins with \"/\", or write \"*\""));
            } else if text.contains(',') {
                let message = format!("is {text:?} and has no effect: no namespace has a comma; write two entries");
                faults.add(format!("{key}[{at}]"), message);
            }
        }
        let allowed = faults.keep(Patterns::compile(key, list));
        faults.finish(allowed.map(|allowed| Self { all: allowed.match_all(), allowed }))
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
        let namespaces = Namespaces::compile("socketio.namespaces", &list).unwrap();
        for (name, expected) in [("/", true), ("/tenant-7", true), ("/admin", false), ("", false), ("/Tenant-7", false)]
        {
            assert_eq!(namespaces.admits(name), expected, "{name}");
        }
        assert!(Namespaces::compile("socketio.namespaces", &["*".to_owned()]).unwrap().admits("/admin"));
        assert!(!Namespaces::compile("socketio.namespaces", &[]).unwrap().admits("/"));
    }

    #[test]
    fn an_entry_no_namespace_can_match_is_an_error() {
        for (text, message) in [
            ("admin", "socketio.namespaces[1] is \"admin\"; a namespace begins with \"/\", or write \"*\""),
            (
                "/a,/b",
                "socketio.namespaces[1] is \"/a,/b\" and has no effect: no namespace has a comma; write two entries",
            ),
            ("", "socketio.namespaces[1] is empty; write a name, or \"*\" for every name"),
        ] {
            let error = Namespaces::compile("socketio.namespaces", &["/".to_owned(), text.to_owned()]).unwrap_err();
            assert_eq!(error[0].to_string(), message);
        }
    }
}
