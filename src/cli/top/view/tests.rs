//! What is drawn, as text. `UPDATE_EXPECT=1 cargo nextest run --lib cli::top` takes over another look, and makes
//! docs/images/top.svg anew.

use std::{env, fs, path::PathBuf};

use ratatui_core::{backend::TestBackend, style::Color, terminal::Terminal};
use serde_json::{Value, json};

use super::{
    super::{
        answers::{Sessions, Status},
        key::Key,
        model::Reading,
        picture,
    },
    *,
};

const COLOURED: Look = Look { colour: true };
const PLAIN: Look = Look { colour: false };
const NODE_STARTED: u64 = 1_790_000_000;

/// A busy node, `second` seconds after it was first asked.
fn status(second: u64) -> Value {
    let uptime = 273_600 + second;
    let now = NODE_STARTED + uptime;
    // Hills of a minute with edges, so that the graphs have something to show.
    let wave = |of: u64| (0..second).map(|at| of * (30 + 2 * (at % 60).abs_diff(30) + at * 37 % 13) / 100).sum::<u64>();
    let refused: u64 = if second > 90 { (second - 90) * 12 } else { 0 };
    json!({
        "node": "gate-7f9c", "version": "0.1.0", "started_at": NODE_STARTED, "uptime_seconds": uptime,
        "sessions": {
            "open": 1204, "active": 1189, "held": 3, "absent": 12,
            "by_transport": { "websocket": 1110, "polling": 82, "absent": 12 },
            "by_quality": { "excellent": 803, "good": 310, "fair": 44, "poor": 9, "unknown": 38 },
        },
        "totals": {
            "connections": 48_210 + second * 3 + second / 7 * 2, "received": 9_120_334 + wave(620), "sent": 30_881_200 + wave(2100),
            "refused": {
                "rate_limit": 12_310 + refused, "auth.expired": 482, "origin": 77, "auth.invalid": 31,
                "connections_per_ip": 12, "too_many_namespaces": 3, "none_yet": 0,
            },
            "disconnected": { "client": 44_120, "transport_lost": 2_790, "token_expired": 84, "drain": 12 },
            "errors": { "refused": 12_899, "upstream": 31 },
        },
        "latency_ms": { "p50": 3.2, "p95": 18.4, "p99": 121.7 },
        "upstream": { "url": "http://127.0.0.1:3000", "up": true, "since": now - 7500 },
        "redis": { "up": true, "since": now - 273_000 },
        "certificates": [
            { "name": "chat.example", "not_after": now + 61 * 86_400 },
            { "name": "old.example", "not_after": now + 3 * 86_400 },
        ],
        "memory": { "used": 187 << 20, "limit": 512 << 20, "sessions": 20 << 20 },
        "reload": { "ok": true, "last_success": now - 320 },
    })
}

fn sessions(second: u64) -> Value {
    let names = ["ada", "grace.hopper@example.org", "linus", "barbara", "edsger", "margaret", "donald", "radia", "ken"];
    let grades = [("excellent", 12.4), ("good", 131.0), ("fair", 322.5), ("poor", 871.0), ("excellent", 3.1)];
    let row = |id: u64| {
        let (name, (grade, rtt)) = (names[id as usize % names.len()], grades[id as usize % grades.len()]);
        let busy = 400 / (id + 1);
        let mut session = json!({
            "id": 48_000 + id, "user": name, "peer": format!("198.51.100.{}", 7 + id * 3 % 200), "namespaces": ["/", "/chat"],
            "transport": if id % 6 == 4 { "polling" } else { "websocket" }, "age_seconds": 40.5 + (id * id * 97) as f64,
            "packets_received": 90_000 / (id + 1) + busy * second, "packets_sent": 300_000 / (id + 1) + busy * 3 * second,
            "packets_refused": if id.is_multiple_of(4) { id * 31 } else { 0 }, "waiting_packets": if id == 3 { 18 } else { 0 },
            "quality": grade, "rtt_ms": rtt, "rtt_avg_ms": rtt, "jitter_ms": rtt / 9.0, "loss_percent": 0.0,
        });
        if id == 5 {
            session["quality"] = Value::Null;
            session["rtt_ms"] = Value::Null;
            session["rtt_avg_ms"] = Value::Null;
            session["jitter_ms"] = Value::Null;
            session["loss_percent"] = Value::Null;
            session["transport"] = "absent".into();
        }
        if id == 7 {
            session["peer"] = "2001:db8:85a3::8a2e:370:7334".into();
            session["users"] = json!(["radia", "guest"]);
        }
        session
    };
    json!({ "sessions": (0..50).map(row).collect::<Vec<_>>(), "next": null, "total": 1204 })
}

fn status_alone(second: u64) -> Reading {
    Reading { status: Status::of(&status(second)).unwrap(), sessions: Sessions::default() }
}

fn reading(second: u64) -> Reading {
    Reading { sessions: Sessions::of(&sessions(second)).unwrap(), ..status_alone(second) }
}

fn at(second: u64) -> Duration {
    Duration::from_secs(second)
}

/// A model that has heard a busy node for 100 seconds.
fn busy() -> Model {
    let mut model = Model::new("http://127.0.0.1:9464");
    for second in 0..=100 {
        let sessions = if second < 99 { Sessions::default() } else { reading(second).sessions };
        model.hear(Reading { sessions, ..status_alone(second) }, at(second));
    }
    model
}

/// As the screen draws it.
fn drawn(model: &mut Model, now: Duration, look: Look, (width, height): (u16, u16)) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let draw = |frame: &mut ratatui_core::terminal::Frame<'_>| {
        model.resized(rows_for_sessions(model, frame.area()));
        super::draw(model, now, look, frame.buffer_mut());
    };
    terminal.draw(draw).unwrap();
    terminal.backend().buffer().clone()
}

fn text_of(model: &mut Model, now: Duration, size: (u16, u16)) -> String {
    as_text(&drawn(model, now, PLAIN, size))
}

/// Compares with a file of this repository, which `UPDATE_EXPECT` writes.
#[track_caller]
fn expect_file(path: &str, found: &str) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    if env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&file, found).unwrap();
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    assert!(found == expected, "{path} differs; found\n{found}\nUPDATE_EXPECT=1 takes it over");
}

#[track_caller]
fn expect_golden(name: &str, found: &str) {
    expect_file(&format!("src/cli/top/view/{name}.txt"), found);
}

#[test]
fn a_small_terminal_and_a_large_one_show_a_busy_node() {
    let mut model = busy();
    expect_golden("80x24", &text_of(&mut model, at(100), (80, 24)));
    expect_golden("140x40", &text_of(&mut model, at(100), (140, 40)));
    expect_golden("once", &plain(&model, 120));
}

#[test]
fn the_picture_of_the_documentation_is_what_is_drawn() {
    let buffer = drawn(&mut busy(), at(100), COLOURED, (112, 36));
    expect_file("docs/images/top.svg", &picture::svg(&buffer));
}

#[test]
fn a_node_in_trouble_is_told_in_words() {
    let mut troubled = status(1);
    troubled["upstream"]["up"] = false.into();
    troubled["upstream"]["why"] = "Connection refused (os error 111)".into();
    troubled["redis"]["up"] = false.into();
    troubled["reload"]["ok"] = false.into();
    troubled["certificates"][1]["not_after"] = (NODE_STARTED + 5).into();
    let mut model = Model::new("http://127.0.0.1:9464");
    let reading = Reading { status: Status::of(&troubled).unwrap(), ..reading(1) };
    model.hear(reading, at(0));
    let why = "Connection refused (os error 111)";
    model.lose(why.to_owned(), at(1));
    model.lose(why.to_owned(), at(2));
    expect_golden("trouble", &text_of(&mut model, at(75), (80, 24)));

    let buffer = drawn(&mut model, at(75), COLOURED, (80, 24));
    let red: String = buffer.content.iter().filter(|cell| cell.fg == Color::Red).map(|cell| cell.symbol()).collect();
    for word in ["DOWN for 2h 5m", "NOT LOADED", "old.example EXPIRED", "lost for 1m 14s"] {
        assert!(red.contains(word), "{word}: {red}");
    }
}

#[test]
fn a_node_that_says_nothing_is_shown_as_unknown() {
    let mut model = Model::new("http://127.0.0.1:9464");
    expect_golden("nothing", &text_of(&mut model, at(0), (80, 24)));
    for (width, height) in [(1, 1), (3, 2), (20, 5), (39, 12), (300, 90)] {
        let text = text_of(&mut busy(), at(100), (width, height));
        assert_eq!(text.lines().count(), usize::from(height), "{width}x{height}");
    }
}

#[test]
fn keys_change_what_is_drawn() {
    let mut model = busy();
    let size = (80, 24);
    let screen = |model: &mut Model| text_of(model, at(100), size);
    model.press(Key::Char('?'));
    assert!(screen(&mut model).contains(" sort by another column: received, "));
    model.press(Key::Char('?'));
    for key in ['/', 'a', 'd'] {
        model.press(Key::Char(key));
    }
    assert!(screen(&mut model).ends_with("\n search: ad_   Enter searches, Esc leaves\n"));
    model.press(Key::Enter);
    model.hear(Reading { sessions: Sessions::default(), ..reading(101) }, at(101));
    assert!(screen(&mut model).contains("\nno session has \"ad\" in its user, peer or namespaces\n"));
    model.press(Key::Escape);
    model.hear(reading(102), at(102));

    for title in ["▼RTT ms", "▼WAIT", "▼REFUSED", "▼AGE", "▲USER", "▲ID", "▼RECV", "▼RTT ms"] {
        model.press(Key::Char('s'));
        let screen = screen(&mut model);
        assert!(screen.contains(title), "{title}: {screen}");
    }
    model.press(Key::Char('r'));
    assert!(screen(&mut model).contains("▲RTT ms"));
    model.press(Key::Char('p'));
    assert!(screen(&mut model).lines().next().unwrap().ends_with("  PAUSED"));
    assert!(screen(&mut model).contains("  40s\n"));
    model.press(Key::PageDown);
    assert!(!screen(&mut model).contains("  40s\n"), "scrolled");
}

#[test]
fn without_colour_nothing_is_coloured_and_nothing_is_lost() {
    let mut model = busy();
    let (coloured, plain) =
        (drawn(&mut model, at(100), COLOURED, (80, 24)), drawn(&mut model, at(100), PLAIN, (80, 24)));
    assert!(coloured.content.iter().any(|cell| cell.fg == Color::Green));
    assert!(plain.content.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
    assert_eq!(as_text(&coloured), as_text(&plain));
}

#[test]
fn a_name_cannot_speak_to_the_terminal() {
    let evil =
        json!({ "sessions": [{ "id": 1, "user": "\u{1b}[2J\u{1b}]0;pwned\u{7}", "peer": "日本語の名前の長いもの" }] });
    let mut model = Model::new("http://127.0.0.1:9464");
    let sessions = Sessions::of(&evil).unwrap();
    model.hear(Reading { sessions, ..reading(1) }, at(0));
    for text in [plain(&model, 120), text_of(&mut model, at(0), (80, 24))] {
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
        assert!(text.contains("日本語"), "{text}");
    }
}
