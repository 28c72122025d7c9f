//! What to write where a text is no address.

use std::net::IpAddr;

/// The port of examples, where none is given.
const PORT: u16 = 8443;

/// Why `text` is no `IP:PORT`, and what to write instead: reads on from `is "…"; `.
pub(crate) fn no_address(text: &str) -> String {
    let bare = text.trim();
    let bare = bare.split_once("://").map_or(bare, |(_, behind)| behind).trim_end_matches('/');
    let example = |host: &str, port: u16| format!("for example \"{host}:{port}\"");
    if let Ok(ip) = bare.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        let host = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
        return format!("an address has a port, {}", example(&host, PORT));
    }
    if let Ok(port) = bare.parse::<u16>() {
        return format!("an address is IP:PORT, {}", example("0.0.0.0", port));
    }
    let (host, port) = match bare.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>())) {
        Some((host, Ok(port))) => (host, port),
        Some((host, Err(_))) if !host.is_empty() => {
            return format!("an address is IP:PORT with a port from 0 to 65535, {}", example("127.0.0.1", PORT));
        }
        _ => (bare, PORT),
    };
    if host.is_empty() || host == "*" {
        return format!("an address is IP:PORT, {}; 0.0.0.0 is every address", example("0.0.0.0", port));
    }
    if bare != text {
        return format!("an address is IP:PORT, not a URL, {}", example("127.0.0.1", port));
    }
    format!("an address is IP:PORT, not a name, {}", example("127.0.0.1", port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_to_write() {
        for (text, told) in [
            ("localhost:8080", "an address is IP:PORT, not a name, for example \"127.0.0.1:8080\""),
            ("localhost", "an address is IP:PORT, not a name, for example \"127.0.0.1:8443\""),
            ("10.0.0.1", "an address has a port, for example \"10.0.0.1:8443\""),
            ("::1", "an address has a port, for example \"[::1]:8443\""),
            ("9000", "an address is IP:PORT, for example \"0.0.0.0:9000\""),
            (":9000", "an address is IP:PORT, for example \"0.0.0.0:9000\"; 0.0.0.0 is every address"),
            ("*:9000", "an address is IP:PORT, for example \"0.0.0.0:9000\"; 0.0.0.0 is every address"),
            ("http://a:90/", "an address is IP:PORT, not a URL, for example \"127.0.0.1:90\""),
            ("10.0.0.1:99999", "an address is IP:PORT with a port from 0 to 65535, for example \"127.0.0.1:8443\""),
            ("", "an address is IP:PORT, for example \"0.0.0.0:8443\"; 0.0.0.0 is every address"),
        ] {
            assert_eq!(no_address(text), told, "{text}");
        }
    }
}
