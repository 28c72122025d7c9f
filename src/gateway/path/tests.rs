//! Paths, and what somebody may read in them.

use proptest::prelude::*;

use super::*;

fn leads(path: &str, endpoint: &str) -> bool {
    Readings::of(path).may_lead_to(endpoint)
}

#[test]
fn a_path_without_anything_to_decode_or_fold_has_one_reading() {
    for path in ["/", "/a", "/a/", "/socket.io/", "/a.b/c..d", "/a\"b{c}|^'`<>", "/.well-known/..a", "/ä", "/a:b@c,d=e"]
    {
        assert_eq!(Readings::of(path).folded(), None, "{path}");
        assert!(!leads(path, "/socket.io"), "{path}: only the written one can");
    }
}

#[test]
fn readers_decode_and_fold() {
    for (path, folded) in [
        ("//", "/"),
        ("//a", "/a"),
        ("/a//b/", "/a/b/"),
        ("/a/./b", "/a/b"),
        ("/a/.", "/a/"),
        ("/a%2Fb", "/a/b"),
        ("/a%2fb%2F", "/a/b/"),
        ("/a%5cb", "/a/b"),
        ("/a\\b", "/a/b"),
        ("/%61%2562", "/ab"),
        ("/%2525252561", "/a"),
        ("/%2%35", "/%"),
        ("/%%36%31", "/a"),
        ("/%u0061%U0062", "/ab"),
        ("/%zz%", "/%zz%"),
        ("/a;b=c/d;", "/a/d"),
    ] {
        assert_eq!(Readings::of(path).folded().as_deref(), Some(folded), "{path}");
    }
    for path in ["/a/../b", "/..", "/a/%2e%2e/b", "/a\\..\\b", "/a%2f.%2Eb/..;x/c", "/a/%252e%u002e"] {
        assert!(Readings::of(path).climbs(), "{path}");
    }
    assert!(!Readings::of("/a/...%2e./b..").climbs());
}

#[test]
fn a_path_leads_to_an_endpoint_if_any_reader_may_find_it() {
    for path in [
        "//socket.io/",
        "/./socket.io/",
        "/%73ocket.io/",
        "/socket%2eio/",
        "/socket.io%2f",
        "/socket.io%00",
        "/%2573ocket.io",
        "/%u0073ocket.io",
        "/\\socket.io/",
        "/;x/socket.io;y",
        "/x/../socket.io/",
        "/socket.io/../x",
        // `x%2fy` is one segment to a reader that cuts before it decodes.
        "/x%2fy/../socket.io/",
        "/x/y%2f../../socket.io/",
        "/a//../socket.io/",
        "/a/%2e%2e/socket.io/%252e%252e/x",
        "/a\\b\\..\\..\\socket.io",
        "/;%2fb/socket.io",
    ] {
        assert!(leads(path, "/socket.io"), "{path}");
        assert!(leads(&format!("/api/../{path}"), "/socket.io"), "{path} behind another");
    }
    for path in [
        "/a%2Fsocket.io/",
        "/a//socket.io",
        "/docs/a%20b",
        "/a/%2e/socket.io",
        "/Socket%2eIO/",
        "/%00",
        "/x;/socket.io",
    ] {
        assert!(!leads(path, "/socket.io"), "{path}");
    }
    for (path, expected) in [
        ("/api/%73ocket.io/", true),
        ("/api/x/../socket.io/", true),
        ("/api2//socket.io", false),
        ("/%61pi/socket.io.js", true),
        ("/socket.io//api", false),
        ("/%61pi", false),
    ] {
        assert_eq!(leads(path, "/api/socket.io"), expected, "{path}");
    }
}

#[test]
fn a_path_of_the_configuration_has_one_meaning() {
    for path in ["/ws", "/socket.io/", "/caf%C3%A9", "/é"] {
        assert!(is_canonical(path), "{path}");
    }
    for path in ["/a%2fb", "//a", "/a/../b", "/a;b", "/a\\b", "/%61", "/a%", "/%25c3"] {
        assert!(!is_canonical(path), "{path}");
    }
}

#[test]
fn a_hostile_path_costs_linear_time() {
    let began = std::time::Instant::now();
    for path in
        ["%25".repeat(300_000), format!("%{}", "25".repeat(300_000)), "/..".repeat(300_000), "%u".repeat(300_000)]
    {
        let path = format!("/{path}");
        assert!(!leads(&path, "/socket.io"));
    }
    assert!(began.elapsed() < std::time::Duration::from_secs(5));
}

/// One pass of one reader, chosen by `step`.
fn read_once(path: &[u8], step: u8) -> Vec<u8> {
    let segments = |path: &[u8]| path.split(|&byte| byte == b'/').skip(1).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let joined = |segments: Vec<Vec<u8>>| segments.iter().flat_map(|one| [b"/", &**one].concat()).collect::<Vec<u8>>();
    match step {
        0 => {
            let mut decoded = Vec::new();
            let mut rest = path;
            while let [byte, tail @ ..] = rest {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                match (byte, tail) {
                    (b'%', [high, low, tail @ ..]) if digit(*high).is_some() && digit(*low).is_some() => {
                        decoded.push((digit(*high).unwrap() * 16 + digit(*low).unwrap()) as u8);
                        rest = tail;
                    }
                    _ => {
                        decoded.push(*byte);
                        rest = tail;
                    }
                }
            }
            decoded
        }
        1 => path.iter().map(|&byte| if byte == b'\\' { b'/' } else { byte }).collect(),
        2 => joined(segments(path).into_iter().filter(|one| !one.is_empty()).collect()),
        3 => {
            joined(segments(path).iter().map(|one| one.split(|&byte| byte == b';').next().unwrap().to_vec()).collect())
        }
        4 => {
            let mut kept: Vec<Vec<u8>> = Vec::new();
            for segment in segments(path) {
                match &*segment {
                    b"." => {}
                    b".." => drop(kept.pop()),
                    _ => kept.push(segment),
                }
            }
            joined(kept)
        }
        // As a browser and Node's `URL` do it: encoded dots count, encoded slashes do not.
        _ => {
            let dots = |one: &[u8]| String::from_utf8_lossy(one).to_lowercase().replace("%2e", ".");
            let mut kept: Vec<Vec<u8>> = Vec::new();
            for segment in segments(path) {
                match &*dots(&segment) {
                    "." => {}
                    ".." => drop(kept.pop()),
                    _ => kept.push(segment),
                }
            }
            joined(kept)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]
    #[test]
    fn no_row_of_readers_finds_an_endpoint_that_is_not_seen(
        parts in proptest::collection::vec(
            prop_oneof![
                Just("/"), Just("\\"), Just("%2f"), Just("%5C"), Just("%252F"), Just("."), Just(".."), Just("%2e"), Just(";"),
                Just("a"), Just("io"), Just("i%6f"), Just("%69o"), Just("%2569o"), Just("/io"), Just("/.."), Just("/a"), Just("b/io"),
                Just("b"),
            ],
            0..9,
        ),
        steps in proptest::collection::vec(0_u8..6, 0..6),
        endpoint in prop_oneof![Just("/io"), Just("/a/io")],
    ) {
        let path = format!("/{}", parts.concat());
        let mut read = path.clone().into_bytes();
        for step in steps {
            read = read_once(&read, step);
        }
        if read.starts_with(endpoint.as_bytes()) && !path.starts_with(endpoint) {
            prop_assert!(leads(&path, endpoint), "{} is read as {}", path, String::from_utf8_lossy(&read));
        }
    }
}
