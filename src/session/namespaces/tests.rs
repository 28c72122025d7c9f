//! Namespaces that are joined, left, and asked for again.

use super::*;

fn joined(namespaces: &mut Namespaces, name: &str, sid: &str) -> Option<Answered> {
    namespaces.joined(name, format!(r#"{{"sid":"{sid}"}}"#).as_bytes())
}

#[test]
fn a_namespace_is_connected_joined_and_left() {
    let mut namespaces = Namespaces::default();
    assert!(namespaces.is_empty());
    for name in ["/", "/chat"] {
        namespaces.connecting(name, b"");
        assert_eq!(namespaces.find(name).map(|(_, m)| m), Some(Membership::Connecting));
        assert_eq!(joined(&mut namespaces, name, "a"), Some(Answered::News));
        assert_eq!(joined(&mut namespaces, name, "a"), None, "no second answer is awaited");
    }
    assert_eq!(namespaces.names().collect::<Vec<_>>(), ["/", "/chat"]);
    assert_eq!((namespaces.name(0), namespaces.name(1)), (Some("/"), Some("/chat")));
    assert_eq!(namespaces.left("/chat"), Some((1, Membership::Joined)));
    assert_eq!(namespaces.find("/chat"), None);
    assert_eq!(namespaces.left("/chat"), None);
    assert_eq!(namespaces.left("/"), Some((0, Membership::Joined)));
    assert!(namespaces.is_empty());
}

#[test]
fn namespaces_are_bounded_and_their_numbers_are_reused() {
    let mut namespaces = Namespaces::default();
    for i in 1..5 {
        assert!(!namespaces.is_full(5), "there is room for /{i}, and for / beside it");
        namespaces.connecting(&format!("/{i}"), b"");
    }
    assert!(namespaces.is_full(5) && !namespaces.is_full(6));
    assert_eq!(namespaces.left("/3"), Some((3, Membership::Connecting)));
    assert!(!namespaces.is_full(5));
    namespaces.connecting("/now-it-fits", b"");
    assert_eq!(namespaces.find("/now-it-fits").map(|(number, _)| number), Some(3));
}

#[test]
fn what_is_kept_of_connects_is_bounded_for_all_namespaces_together() {
    const MAX: usize = 100;
    let names = ["/", "/a", "/b", "/c", "/d"];
    let says = |byte: u8, len: usize| vec![byte; len];
    let mut namespaces = Namespaces::default();
    for name in names {
        assert!(namespaces.keeps_connect(name, &says(b'1', 70), MAX));
        namespaces.connecting(name, &says(b'1', 70));
        joined(&mut namespaces, name, "a");
    }
    assert!(namespaces.keeps_connect("/new", &says(b'1', 50), MAX));
    assert!(!namespaces.keeps_connect("/new", &says(b'1', 51), MAX));
    // Twice, since a client comes back more often than the service is asked.
    for byte in [b'2', b'3'] {
        for name in names {
            assert!(namespaces.keeps_connect(name, &says(byte, 70), MAX), "{name}: it is as long as before");
            namespaces.connects_anew(name, &says(byte, 70));
        }
    }
    assert!(namespaces.keeps_connect("/a", &says(b'4', 120), MAX));
    assert!(!namespaces.keeps_connect("/a", &says(b'4', 121), MAX));
    assert!(namespaces.keeps_connect("/new", &says(b'4', 50), MAX), "as before it came back");
    assert!(!namespaces.keeps_connect("/new", &says(b'4', 51), MAX));
}

#[test]
fn nothing_more_is_kept_of_a_connect_that_is_the_same() {
    let mut namespaces = Namespaces::default();
    namespaces.connecting("/", &[b'1'; 400]);
    joined(&mut namespaces, "/", "a");
    // As after a reload.
    for (json, is_kept) in [(b'1', true), (b'2', false)] {
        assert_eq!(namespaces.keeps_connect("/", &[json; 400], 10), is_kept);
    }
}

#[test]
fn another_service_gets_the_connect_packets_of_the_client_again() {
    let mut namespaces = Namespaces::default();
    namespaces.connecting("/", br#"{"token":"t"}"#);
    namespaces.connecting("/chat", b"");
    assert!(namespaces.all_answered(), "the first CONNECT is the client's own");
    joined(&mut namespaces, "/", "a");
    namespaces.joined("/chat", br#"{"sid":"b","pid":"p"}"#);
    assert!(namespaces.numbers_events("/chat") && !namespaces.numbers_events("/"));
    namespaces.set_offset("/chat", "7-0");

    let packets = namespaces.ask_again();

    let packets: Vec<_> = packets.iter().map(|packet| String::from_utf8_lossy(packet)).collect();
    assert_eq!(packets, [r#"40{"token":"t"}"#, r#"40/chat,{"pid":"p","offset":"7-0"}"#]);
    assert!(!namespaces.all_answered());
    assert_eq!(namespaces.names().count(), 2, "the client stays in both");
    assert_eq!(joined(&mut namespaces, "/", "other"), Some(Answered::News));
    assert_eq!(namespaces.joined("/chat", br#"{"sid":"b","pid":"p"}"#), Some(Answered::Recovered));
    assert!(namespaces.all_answered());
}
