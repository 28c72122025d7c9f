//! Rates, losses and keys, second by second.

use serde_json::{Value, json};

use super::*;

fn at(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// A node that began at `started` and has these totals.
fn reading(started: u64, received: u64, refused: &Value, sessions: &Value) -> Reading {
    let status = json!({
        "started_at": started, "uptime_seconds": 5, "sessions": { "open": 3 },
        "totals": { "connections": 2, "received": received, "refused": refused },
    });
    Reading {
        status: Status::of(&status).unwrap(),
        sessions: Sessions::of(&json!({ "sessions": sessions, "total": 7 })).unwrap(),
    }
}

fn session(id: u64, received: u64, sent: u64) -> Value {
    json!({ "id": id, "user": format!("user{id}"), "packets_received": received, "packets_sent": sent })
}

#[test]
fn rates_are_what_was_added_by_the_time_between() {
    let mut model = Model::new("http://node");
    model.hear(reading(1, 100, &json!({ "a": 1 }), &json!([session(1, 10, 5)])), at(0.0));
    assert_eq!(model.shown().flows.received.rate, None, "one answer is no rate");
    assert_eq!(model.shown().status.open, Some(3));

    let next = json!([session(1, 30, 5), session(2, 9, 9)]);
    model.hear(reading(1, 150, &json!({ "a": 1, "b": 4 }), &next), at(2.0));
    let live = model.shown();
    assert_eq!(live.flows.received.rate, Some(25.0));
    assert_eq!(live.flows.sent.rate, None, "the node does not tell");
    assert_eq!(live.flows.refused.rate, Some(2.0));
    assert_eq!(live.refusals(), [("b", 4, 2.0), ("a", 1, 0.0)], "what happens now comes first");
    assert_eq!(live.rates_of(&live.sessions.rows[0]), (Some(10.0), Some(0.0)));
    assert_eq!(live.rates_of(&live.sessions.rows[1]), (None, None), "it was not there before");

    // A key asked in between: no rate over so short a time, but what it asked for.
    model.hear(reading(1, 151, &json!({}), &json!([session(2, 9, 9)])), at(2.1));
    let live = model.shown();
    assert_eq!((live.flows.received.rate, live.sessions.rows.len()), (Some(25.0), 1));
    model.hear(reading(1, 160, &json!({}), &json!([])), at(3.0));
    assert_eq!(model.shown().flows.received.rate, Some(10.0), "counted from the answer at two seconds");
    assert_eq!(model.shown().flows.refused.rate, None, "a total that has become less is of another count");
}

#[test]
fn a_node_that_was_started_again_begins_anew() {
    let mut model = Model::new("http://node");
    model.hear(reading(1, 100, &json!({}), &json!([session(1, 10, 5)])), at(0.0));
    model.hear(reading(9, 150, &json!({}), &json!([session(1, 30, 5)])), at(1.0));
    let live = model.shown();
    assert_eq!((live.flows.received.rate, live.rates_of(&live.sessions.rows[0])), (None, (None, None)));
    model.hear(reading(9, 151, &json!({}), &json!([])), at(2.0));
    assert_eq!(model.shown().flows.received.rate, Some(1.0));
}

#[test]
fn a_lost_connection_is_a_gap_and_ends_with_an_answer() {
    let mut model = Model::new("http://node");
    model.hear(reading(1, 100, &json!({}), &json!([])), at(0.0));
    model.hear(reading(1, 101, &json!({}), &json!([])), at(1.0));
    model.lose("refused".to_owned(), at(2.0));
    model.lose("silent".to_owned(), at(3.0));
    assert_eq!(model.lost(), Some(&("silent".to_owned(), at(2.0))), "the latest reason, since the first");
    assert_eq!(model.shown().flows.received.rate, None);
    assert_eq!(model.shown().status.open, Some(3), "what was known stays in sight");

    model.hear(reading(1, 900, &json!({}), &json!([])), at(4.0));
    assert_eq!((model.lost(), model.shown().flows.received.rate), (None, None));
    model.hear(reading(1, 903, &json!({}), &json!([])), at(5.0));
    assert_eq!(model.shown().flows.received.rate, Some(3.0));
    let columns = model.shown().flows.received.history.columns(120);
    assert_eq!(columns, [None, Some(1.0), None, None, None, Some(3.0)]);
}

#[test]
fn keys_sort_reverse_and_search() {
    let mut model = Model::new("http://node");
    let asked = |model: &Model| model.query().target();
    assert_eq!(asked(&model), "/sessions?limit=50&sort=received&order=desc");
    model.press(Key::Char('r'));
    assert_eq!(asked(&model), "/sessions?limit=50&sort=received&order=asc");
    model.press(Key::Char('s'));
    assert_eq!(asked(&model), "/sessions?limit=50&sort=rtt&order=desc", "another column begins in its own order");

    for key in ['/', 'q', 's', 'x'].map(Key::Char).into_iter().chain([Key::Backspace]) {
        assert_eq!(model.press(key), Wish::Nothing, "{key:?} is text");
    }
    assert_eq!((model.typed.as_deref(), &*model.search), (Some("qs"), ""));
    model.press(Key::Enter);
    assert_eq!(asked(&model), "/sessions?limit=50&sort=rtt&order=desc&search=qs");
    model.press(Key::Char('/'));
    model.press(Key::Char('!'));
    model.press(Key::Escape);
    assert_eq!((model.typed.as_deref(), &*model.search), (None, "qs"), "as before");
    model.press(Key::Char('?'));
    assert!(model.help);
    model.press(Key::Escape);
    assert!(!model.help && model.search == "qs");
    model.press(Key::Escape);
    assert_eq!(model.search, "");

    model.press(Key::Char('/'));
    for _ in 0..200 {
        model.press(Key::Char('x'));
    }
    assert_eq!(model.typed.as_ref().map(String::len), Some(SEARCH_MAX));
    assert_eq!(model.press(Key::Interrupt), Wish::Quit, "also while something is typed");
    model.press(Key::Escape);
    assert_eq!(model.press(Key::Char('q')), Wish::Quit);
}

#[test]
fn a_pause_holds_the_picture_while_figures_go_on() {
    let mut model = Model::new("http://node");
    model.hear(reading(1, 100, &json!({}), &json!([session(1, 1, 1)])), at(0.0));
    model.press(Key::Char('p'));
    for second in 1..4_u32 {
        model.hear(reading(1, 100 + u64::from(second), &json!({}), &json!([])), at(second.into()));
    }
    assert!(model.is_paused());
    assert_eq!((model.shown().status.totals.received, model.shown().sessions.rows.len()), (Some(100), 1));
    model.press(Key::Char('p'));
    assert_eq!((model.shown().status.totals.received, model.shown().sessions.rows.len()), (Some(103), 0));
    assert_eq!(model.shown().flows.received.history.columns(120), [None, Some(1.0), Some(1.0), Some(1.0)]);
}

#[test]
fn scrolling_stays_among_the_sessions_and_asks_for_more() {
    let mut model = Model::new("http://node");
    model.resized(8);
    let sessions: Value = (0..50).map(|id| session(id, 1, 1)).collect();
    model.hear(reading(1, 1, &json!({}), &sessions), at(0.0));
    model.press(Key::Up);
    assert_eq!(model.scrolled(), 0);
    model.press(Key::Down);
    model.press(Key::PageDown);
    assert_eq!((model.scrolled(), model.query().limit), (9, 50));
    model.press(Key::End);
    assert_eq!((model.scrolled(), model.query().limit), (42, 100), "the last is at the lower edge");
    model.press(Key::PageUp);
    assert_eq!(model.scrolled(), 34);
    model.press(Key::Home);
    assert_eq!(model.scrolled(), 0);
    model.press(Key::End);
    model.hear(reading(1, 1, &json!({}), &json!([session(1, 1, 1)])), at(0.1));
    assert_eq!(model.scrolled(), 0, "those below are gone");
    model.resized(5000);
    assert_eq!(model.query().limit, LIMIT_MAX);
}
