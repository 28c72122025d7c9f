use super::*;
use crate::event_names::EventNames;

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn room(name: &str) -> RoomTable {
    RoomTable { name: name.to_owned(), ..RoomTable::default() }
}

fn asked() -> RoomTable {
    RoomTable { join_on: text("join"), confirm: text("ack"), ..room("lesson:{arg0.id}") }
}

fn mirror(event: &str, room: &str) -> MirrorTable {
    MirrorTable { event: event.to_owned(), room: room.to_owned(), ..MirrorTable::default() }
}

fn told(rooms: &[RoomTable], mirrors: &[MirrorTable]) -> Vec<String> {
    MirrorRules::compile(rooms, mirrors).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

#[test]
fn a_node_without_others_has_no_rooms() {
    let rules = MirrorRules::default();
    assert!(rules.is_empty() && !rules.has_others() && !rules.name_events());
    let rules = MirrorRules::compile(&[], &[]).unwrap();
    assert!(rules.is_empty() && rules.has_others(), "each socket has a room of its own");
    assert!(!rules.name_client_event(EventSlot::OTHER, b"x"));
}

#[test]
fn the_events_that_rules_name_are_found_by_their_slots() {
    let names = EventNames::new(10, ["tutor:message"]);
    let rooms = [RoomTable { leave_on: text("leave:*"), ..asked() }, room("user:{claims.sub}")];
    let rules = MirrorRules::compile(&rooms, &[mirror("tutor:*", "*"), mirror("tutor:message", "r")]).unwrap();
    for slot in [|names: &EventNames, event: &str| names.slot(event), |_: &EventNames, _: &str| EventSlot::OTHER] {
        for (event, by_client, by_service) in [
            ("join", true, false),
            ("leave:lesson", true, false),
            ("leave", false, false),
            ("tutor:message", false, true),
            ("tutor:typing", false, true),
            ("tutor", false, false),
        ] {
            for _ in 0..2 {
                let slot = slot(&names, event);
                let named = |is_client| match is_client {
                    true => rules.name_client_event(slot, event.as_bytes()),
                    false => rules.name_service_event(slot, event.as_bytes()),
                };
                assert_eq!((named(true), named(false)), (by_client, by_service), "{event}");
            }
        }
    }
    let numbers = |namespace, event: &'static str| -> Vec<_> {
        rules.mirrors_of(namespace, event.as_bytes()).map(|(at, _)| at).collect()
    };
    assert_eq!((numbers("/", "tutor:message"), numbers("/", "tutor:typing")), (vec![0, 1], vec![0]));
    assert_eq!(numbers("/chat", "tutor:message"), [0_usize; 0]);
    assert_eq!(rules.rooms_of_all("/").map(|(at, _)| at).collect::<Vec<_>>(), [1]);
    assert_eq!(rules.rooms_by_event("/").map(|(at, ..)| at).collect::<Vec<_>>(), [0]);
}

#[test]
fn the_claims_of_all_templates_are_told_once() {
    let rooms = [room("user:{claims.sub}"), room("{claims.tid}:{claims.sub}")];
    let rules = MirrorRules::compile(&rooms, &[mirror("a", "plan:{claims.plan}"), mirror("b", "*")]).unwrap();
    let claims: Vec<_> = rules.claims().collect();
    assert_eq!(claims.iter().map(|claim| &**claim).collect::<Vec<_>>(), ["plan", "sub", "tid"]);
}

#[test]
fn no_client_can_name_the_room_of_another_socket() {
    let unconfirmed = |name: &str| RoomTable { name: name.to_owned(), confirm: None, unconfirmed: true, ..asked() };
    for (refused, table) in [
        (true, room("{auth.room}")),
        (true, room("a-{auth.room}_9")),
        (true, room("{claims.sub}{auth.room}")),
        (true, unconfirmed("{arg0}")),
        (true, RoomTable { name: "{auth.room}".to_owned(), ..asked() }),
        (false, room("room:{auth.room}")),
        (false, unconfirmed("{arg0}#")),
        (false, RoomTable { name: "{arg0}".to_owned(), ..asked() }),
        (false, room("{claims.sub}")),
    ] {
        let told = told(std::slice::from_ref(&table), &[]);
        assert_eq!(told.iter().any(|fault| fault.contains("the id of another socket")), refused, "{}", table.name);
    }
    assert_eq!(told(&[], &[mirror("a", "{auth.room}"), mirror("a", "{arg0}")]).len(), 1);
}

#[test]
fn a_rule_is_told_of_once_whose_room_cannot_be_named() {
    let rules = MirrorRules::compile(&[], &[mirror("a", "{arg0}")]).unwrap();
    assert!(rules.mirrors[0].is_first_unresolved() && !rules.mirrors[0].is_first_unresolved());
}

#[test]
fn a_join_that_nothing_confirms_is_refused() {
    assert_eq!(
        told(&[RoomTable { confirm: None, ..asked() }], &[]),
        [
            "room[0].join_on: lets any client into any room for which it asks; add confirm = \"ack\", or unconfirmed = true where \
             all may read all of it"
        ]
    );
    for table in [
        asked(),
        RoomTable { confirm: None, unconfirmed: true, ..asked() },
        RoomTable { confirm_when: text("arg0.state"), confirm_equals: text("entered"), ..asked() },
        RoomTable { leave_on: text("leave"), ..asked() },
        RoomTable { name: "fixed".to_owned(), ..asked() },
        room("user:{claims.sub}:{auth.device}"),
    ] {
        assert_eq!(told(std::slice::from_ref(&table), &[]), [""; 0], "{table:?}");
    }
}

#[test]
fn what_is_wrong_with_a_room_is_told_with_its_key() {
    let no_effect = "has no effect without join_on; name the event there, or remove this key";
    for (table, expected) in [
        (room(""), "room[0].name is empty; name the room, for example \"user:{claims.sub}\"".to_owned()),
        (room("*"), "room[0].name is \"*\"; all clients of a namespace need no room: leave this table out".to_owned()),
        (
            room("lesson:{arg0.id}"),
            "room[0].name is \"lesson:{arg0.id}\", which an event fills in; name that event in join_on".to_owned(),
        ),
        (RoomTable { leave_on: text("leave"), ..room("r") }, format!("room[0].leave_on {no_effect}")),
        (RoomTable { confirm: text("ack"), ..room("r") }, format!("room[0].confirm {no_effect}")),
        (RoomTable { unconfirmed: true, ..room("r") }, format!("room[0].unconfirmed {no_effect}")),
        (
            RoomTable { confirm: text("reply"), ..asked() },
            "room[0].confirm is \"reply\"; it must be \"ack\"".to_owned(),
        ),
        (
            RoomTable { unconfirmed: true, ..asked() },
            "room[0].unconfirmed is true beside confirm = \"ack\"; leave one of them out".to_owned(),
        ),
        (
            RoomTable { confirm_when: text("arg0.a"), ..asked() },
            "room[0].confirm_equals is missing; write what the service says there".to_owned(),
        ),
        (
            RoomTable { confirm_equals: text("ok"), ..asked() },
            "room[0].confirm_when is missing; write where the service says it, as \"arg0.state\"".to_owned(),
        ),
        (
            RoomTable { confirm_when: text("state"), confirm_equals: text("ok"), ..asked() },
            "room[0].confirm_when is \"state\"; it must be argN or argN.NAME, as \"arg0.state\"".to_owned(),
        ),
        (
            RoomTable { confirm: None, unconfirmed: true, confirm_when: text("arg0"), ..asked() },
            "room[0].confirm_when has no effect without confirm = \"ack\"; add that, or remove this key".to_owned(),
        ),
        (
            RoomTable { join_on: text("connect"), ..asked() },
            "room[0].join_on is \"connect\", which Socket.IO uses itself; name an event of the application".to_owned(),
        ),
        (
            RoomTable { namespace: "chat".to_owned(), ..room("r") },
            "room[0].namespace is \"chat\"; it must be the name of one namespace, which begins with \"/\"".to_owned(),
        ),
    ] {
        assert_eq!(told(&[table], &[]), [expected]);
    }
}

#[test]
fn what_is_wrong_with_a_mirror_is_told_with_its_key() {
    for (table, expected) in [
        (mirror("", "r"), "mirror[0].event is empty; name the event"),
        (mirror("*", "r"), "mirror[0].event is \"*\"; name the events, for not each of them is meant for a room"),
        (
            mirror("disconnect", "r"),
            "mirror[0].event is \"disconnect\", which Socket.IO uses itself; name an event of the application",
        ),
        (
            mirror("a", "{user}"),
            "mirror[0].room is \"{user}\", in which {user} is no placeholder; write {claims.NAME}, {auth.NAME} or {argN.NAME} \
             with N from 0 to 15",
        ),
    ] {
        assert_eq!(told(&[], &[table]), [expected]);
    }
    let many = vec![mirror("a", "*"); 65];
    assert_eq!(told(&[], &many), ["mirror has 65 rules; at most 64 are allowed"]);
}
