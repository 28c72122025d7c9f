//! Which namespaces clients may join.

use super::{
    compile_error::CompileError,
    pattern::Patterns,
    verdict::{Refusal, RefusalKind},
};

/// The namespaces of `socketio.namespaces`.
#[derive(Debug, Clone)]
pub struct Namespaces {
    allowed: Patterns,
    all: bool,
}

impl Namespaces {
    /// What a client hears who asks for another one. The words are those of a Socket.IO server.
    pub const REFUSAL: Refusal =
        Refusal { kind: RefusalKind::Forbidden, code: "forbidden", message: "Invalid namespace", rule: None };

    /// Reads names and patterns, each `*` or beginning with `/`.
    ///
    /// # Errors
    /// [`CompileError::Namespace`] or [`CompileError::Pattern`] for an entry that no namespace can match.
    pub fn compile(list: &[String]) -> Result<Self, CompileError> {
        if let Some(at) = list.iter().position(|text| !text.is_empty() && !text.starts_with(['/', '*'])) {
            return Err(CompileError::Namespace { at, text: list[at].clone() });
        }
        let allowed = Patterns::parse(list)
            .map_err(|(at, error)| CompileError::Pattern { key: format!("socketio.namespaces[{at}]"), error })?;
        let all = allowed.match_all();
        Ok(Self { allowed, all })
    }

    /// May clients join `name`? The main namespace is `/`.
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
        assert!(matches!(Namespaces::compile(&["admin".to_owned()]), Err(CompileError::Namespace { at: 0, .. })));
        assert!(matches!(Namespaces::compile(&[String::new()]), Err(CompileError::Pattern { .. })));
    }
}
