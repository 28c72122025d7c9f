//! Headers by which proxies tell a service who the client is, or what it asked for. Clients may not send them.

use http::HeaderName;

use crate::fault::Fault;

/// Those that proxies, content networks, clouds and frameworks are known to write or to believe. `Forwarded`, `X-Real-IP`
/// and all of `X-Forwarded-…` are not listed: they are always removed.
const KNOWN: [&str; 23] = [
    "x-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "cf-pseudo-ipv4",
    "cf-ipcountry",
    "cf-visitor",
    "fastly-client-ip",
    "fly-client-ip",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "x-originating-ip",
    "x-remote-ip",
    "x-remote-addr",
    "x-envoy-external-address",
    "x-envoy-internal",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-appengine-user-ip",
    "x-appengine-remote-addr",
    "x-original-url",
    "x-original-host",
    "x-rewrite-url",
];

/// The default of `listen.trust_headers`.
#[must_use]
pub fn known() -> Vec<String> {
    KNOWN.map(str::to_owned).into()
}

/// Compiles `listen.trust_headers`.
///
/// # Errors
/// Each that is no name of a header.
pub fn compile(names: &[String]) -> Result<Vec<HeaderName>, Vec<Fault>> {
    let mut faults = Vec::new();
    let compiled = names.iter().filter_map(|name| {
        let parsed = HeaderName::from_bytes(name.as_bytes());
        if parsed.is_err() {
            faults.push(Fault::new("listen.trust_headers", format!("has {name:?}, which is not a header name")));
        }
        parsed.ok()
    });
    let compiled = compiled.collect();
    if faults.is_empty() { Ok(compiled) } else { Err(faults) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_headers_are_headers_and_another_thing_is_told() {
        assert_eq!(compile(&known()).unwrap().len(), KNOWN.len());
        let faults = compile(&["x-mine".to_owned(), "not one".to_owned()]).unwrap_err();
        assert_eq!((faults.len(), faults[0].key.as_str()), (1, "listen.trust_headers"));
    }
}
