//! `tidegate top`: what it prints of a node, what it says where there is none, and the terminal before, in and behind it.

use std::{
    convert::Infallible,
    net::SocketAddr,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    process::{Child, ChildStdin, Command},
    task::JoinHandle,
};

use crate::support::{
    Gate, Service, Value, eventually, json,
    ports::Port,
    process, soon,
    tidegate::{Outcome, PROGRAM, Setup},
    token,
};

const TOKEN: &str = "operators-token-of-some-length-1234";

/// Answers as the operator's address of a node, until dropped.
struct Node {
    address: SocketAddr,
    targets: Arc<Mutex<Vec<String>>>,
    serving: JoinHandle<()>,
}

impl Node {
    async fn start() -> Self {
        Self::listen(TcpListener::bind("127.0.0.1:0").await.unwrap(), None)
    }

    async fn with_token() -> Self {
        Self::listen(TcpListener::bind("127.0.0.1:0").await.unwrap(), Some(TOKEN))
    }

    fn listen(listener: TcpListener, token: Option<&'static str>) -> Self {
        let address = listener.local_addr().unwrap();
        let targets: Arc<Mutex<Vec<String>>> = Arc::default();
        let (asked, received) = (targets.clone(), Arc::new(AtomicU64::new(5000)));
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (asked, received) = (asked.clone(), received.clone());
                let answer = service_fn(move |request: Request<Incoming>| {
                    asked.lock().unwrap().push(request.uri().to_string());
                    let answer = answer(&request, token, &received);
                    async move { Ok::<_, Infallible>(answer) }
                });
                tokio::spawn(http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), answer));
            }
        });
        Self { address, targets, serving }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Whether it was asked for exactly this.
    fn asked(&self, target: &str) -> bool {
        self.targets.lock().unwrap().iter().any(|asked| asked == target)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn answer(request: &Request<Incoming>, token: Option<&str>, received: &AtomicU64) -> Response<Full<Bytes>> {
    let presented = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    let (status, body) = match request.uri().path() {
        _ if token.is_some_and(|token| presented != Some(&format!("Bearer {token}"))) => {
            (401, json!({ "error": "token", "message": "Send the token of admin.token." }))
        }
        "/status" => (200, status(received.fetch_add(1000, Ordering::Relaxed))),
        "/sessions" => (200, sessions()),
        _ => (404, json!({ "error": "path", "message": "There is no such page." })),
    };
    Response::builder().status(status).body(Full::from(body.to_string())).unwrap()
}

fn status(received: u64) -> Value {
    json!({
        "node": "gate-7f9c", "version": "0.1.0", "started_at": 1_790_000_000, "uptime_seconds": 3600,
        "sessions": {
            "open": 2, "active": 1, "held": 0, "absent": 1, "by_transport": { "websocket": 1, "polling": 0, "absent": 1 },
            "by_quality": { "excellent": 1, "good": 0, "fair": 0, "poor": 0, "unknown": 1 },
        },
        "totals": {
            "connections": 7, "received": received, "sent": 90, "refused": { "rate_limit": 12 }, "disconnected": {},
            "errors": {},
        },
        "latency_ms": { "p50": 3.2, "p95": null, "p99": null },
        "upstream": { "url": "http://127.0.0.1:3000", "up": true, "since": 1_790_000_060 },
        "redis": null, "certificates": [], "memory": { "used": 1 << 20, "limit": null, "sessions": 0 },
        "reload": { "ok": true, "last_success": 1_790_003_000 },
    })
}

fn sessions() -> Value {
    json!({
        "sessions": [{
            "id": 4, "user": "ada", "peer": "198.51.100.7", "namespaces": ["/"], "transport": "websocket", "quality": "excellent",
            "rtt_ms": 12.0, "rtt_avg_ms": 12.5, "packets_received": 30, "packets_sent": 60, "packets_refused": 0,
            "waiting_packets": 0, "age_seconds": 75.5,
        }, {
            "id": 5, "user": "bob", "peer": "198.51.100.8", "namespaces": [], "transport": "absent", "quality": null,
            "rtt_ms": null, "packets_received": 0, "packets_sent": 0, "packets_refused": 0, "waiting_packets": 2,
            "age_seconds": 5.0,
        }],
        "next": null, "total": 2,
    })
}

/// The program with no file and no variable that it would look at.
fn setup() -> Setup {
    Gate::before_url("http://127.0.0.1:9").variable("TIDEGATE_ADMIN_TOKEN", "")
}

async fn top(args: &[&str]) -> Outcome {
    setup().cli(&[&["top"], args].concat()).await
}

#[tokio::test]
async fn once_prints_what_a_node_says() {
    let node = Node::start().await;

    let printed = top(&[&node.url(), "--once", "--search", "a&b", "--sort", "age"]).await;

    assert_eq!((printed.code, &*printed.stderr), (Some(0), ""), "{printed:?}");
    let lines: Vec<_> = printed.stdout.lines().collect();
    assert!(lines[0].starts_with(" tidegate gate-7f9c  0.1.0  up 1h  "), "{printed:?}");
    let line = |begin: &str| lines.iter().find_map(|line| line.strip_prefix(begin)).unwrap_or_default().trim();
    assert_eq!(line("service"), "http://127.0.0.1:3000 · up for 59m");
    assert_eq!(line("config"), "loaded, 10m ago · redis none");
    assert_eq!(line("sessions"), "2 open · 1 active · 0 held · 1 absent");
    assert_eq!(line("latency"), "p50 3.2 ms · p95 - · p99 - · memory 1.0 MiB");
    let rate = line("received").strip_suffix("/s").unwrap();
    assert!(!["-", "0"].contains(&rate), "it was asked twice, with a second between: {printed:?}");
    assert!(line("ada").starts_with("198.51.100.7 "), "{printed:?}");
    assert!(!printed.stdout.contains('\u{1b}'), "no colour and no cursor: {printed:?}");
    assert!(node.asked("/sessions?limit=50&sort=age&order=desc&search=a%26b"), "{:?}", node.targets);

    // The same where standard output is no terminal, as here.
    let piped = top(&[&node.url()]).await;
    assert_eq!((piped.code, piped.stdout.lines().count()), (Some(0), lines.len()), "{piped:?}");
}

#[tokio::test]
async fn what_is_wrong_is_told_with_what_to_do() {
    let node = Node::with_token().await;
    let url = node.url();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, token: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, token).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (right, wrong) = (file("right", TOKEN), file("wrong", "another-token-of-some-length-12345"));
    let reserved = Port::reserve();
    let nobody = reserved.address.to_string();

    // (arguments, exit code, what it says)
    let table: &[(&[&str], i32, &[&str])] = &[
        (&[&url], 1, &["wants the token of its admin.token", "--token-file", "TIDEGATE_ADMIN_TOKEN"]),
        (&[&url, "--token-file", &wrong], 1, &["wants another token than this one"]),
        (&[&url, "--token-file", "/no/such/file"], 2, &["/no/such/file cannot be read"]),
        (&[&nobody], 1, &["no node can be reached at http://", "refused", "admin.address"]),
        (&["ftp://127.0.0.1"], 2, &["is no URL of a node", "http://127.0.0.1:9464"]),
        (&[&url, "--sort", "colour"], 2, &["colour", "received, rtt"]),
    ];
    for (args, code, parts) in table {
        let told = top(args).await;
        assert_eq!((told.code, &*told.stdout), (Some(*code), ""), "{args:?}: {told:?}");
        for part in *parts {
            assert!(told.stderr.contains(part), "{args:?} should tell {part}: {told:?}");
        }
        assert!(!told.stderr.contains("token-of-some-length"), "{told:?}");
    }

    let by_file = top(&[&url, "--token-file", &right]).await;
    assert_eq!(by_file.code, Some(0), "{by_file:?}");
    let by_variable = setup().variable("TIDEGATE_ADMIN_TOKEN", TOKEN).cli(&["top", &url]).await;
    assert_eq!(by_variable.code, Some(0), "{by_variable:?}");
    let by_configuration = setup()
        .with(&format!("admin.address = \"{}\"\nadmin.token = {{ file = \"{right}\" }}", node.address))
        .cli(&["top", "--config", "FILE"])
        .await;
    assert_eq!(by_configuration.code, Some(0), "{by_configuration:?}");
}

#[tokio::test]
async fn a_gate_is_shown_with_its_sessions() {
    let service = Service::start().await;
    let gate = Gate::before(&service)
        .with(r#"admin.token = { env = "TIDEGATE_ADMIN_TOKEN" }"#)
        .variable("TIDEGATE_ADMIN_TOKEN", TOKEN)
        .await;
    let ada = gate.client(token("ada")).await;
    ada.ask("echo", json!([1])).await;
    let bob = gate.client(token("bob")).await;

    let url = gate.admin_url("");
    let top = async |args: &[&str]| {
        let setup = setup().variable("TIDEGATE_ADMIN_TOKEN", TOKEN);
        setup.cli(&[&["top", &url, "--once"], args].concat()).await
    };
    let printed = top(&[]).await;
    assert_eq!((printed.code, &*printed.stderr), (Some(0), ""), "{printed:?}");
    assert!(printed.stdout.contains("\nsessions   2 open · "), "{printed:?}");
    assert!(printed.stdout.contains(" · up for "), "{printed:?}");
    assert!(printed.stdout.contains("\ntransport  websocket 2 · polling 0 · absent 0\n"), "{printed:?}");
    for user in ["ada", "bob"] {
        let row = printed.stdout.lines().find(|line| line.starts_with(user));
        assert!(row.is_some_and(|row| row.contains(" 127.0.0.1 ") && row.contains(" ws ")), "{user}: {printed:?}");
    }
    let found = top(&["--search", "ada", "--sort", "user"]).await;
    assert!(found.stdout.contains("\nada ") && !found.stdout.contains("\nbob "), "{found:?}");
    drop((ada, bob));
}

/// The program in a terminal of 80 columns and 24 lines, which `script` makes.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn start(url: &str) -> Self {
        // `exec`, so that the number that is written first is that of the program.
        let line = format!("stty rows 24 cols 80; echo PID $$.; exec {PROGRAM} top {url}");
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--command", &format!("sh -c '{line}'"), "/dev/null"]);
        command.env("TERM", "xterm").env_remove("NO_COLOR").stdin(Stdio::piped());
        let mut child = process::spawn(&mut command);
        let (keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let kept = written.clone();
        tokio::spawn(async move {
            let mut some = [0; 4096];
            while let Ok(length @ 1..) = screen.read(&mut some).await {
                kept.lock().unwrap().extend_from_slice(&some[..length]);
            }
        });
        Self { child, keys, written }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().unwrap()).into_owned()
    }

    async fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).await.unwrap();
    }

    /// Waits until this is on the screen.
    async fn shows(&self, expected: &str) {
        eventually(&format!("the screen shows {expected:?}"), async || {
            screen(&self.text()).contains(expected).then_some(())
        })
        .await;
    }

    /// Its exit code, once the terminal is as it was.
    async fn ends(mut self) -> Option<i32> {
        let status = soon("it ends", self.child.wait()).await.unwrap();
        eventually("the first screen and the cursor are back", async || {
            let text = self.text();
            let back = |code: &str| text.rfind(code).is_some_and(|at| at > text.rfind("\u{1b}[?1049h").unwrap_or(0));
            (back("\u{1b}[?1049l") && back("\u{1b}[?25h")).then_some(())
        })
        .await;
        status.code()
    }
}

/// What a terminal shows that was told this, as far as the program makes use of it.
fn screen(written: &str) -> String {
    let blank = || vec![vec![' '; 80]; 24];
    let (mut cells, mut row, mut column) = (blank(), 0_usize, 0_usize);
    let mut rest = written.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => {
                // `[`, parameters, and the letter that says what is to be done.
                let mut sequence = String::new();
                for c in rest.by_ref() {
                    sequence.push(c);
                    if c.is_ascii_alphabetic() {
                        break;
                    }
                }
                if let Some(place) = sequence.strip_prefix('[').and_then(|place| place.strip_suffix('H')) {
                    let mut numbers = place.split(';').map(|number| number.parse().unwrap_or(1_usize) - 1);
                    (row, column) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
                } else if ["[2J", "[?1049h"].contains(&&*sequence) {
                    cells = blank();
                }
            }
            '\r' => column = 0,
            '\n' => row += 1,
            c => {
                if let Some(cell) = cells.get_mut(row).and_then(|row| row.get_mut(column)) {
                    *cell = c;
                }
                column += 1;
            }
        }
    }
    cells.iter().map(|row| row.iter().collect::<String>().trim_end().to_owned() + "\n").collect()
}

#[tokio::test]
async fn in_a_terminal_keys_are_obeyed_and_a_lost_node_is_waited_for() {
    let node = Node::start().await;
    let address = node.address;
    let mut terminal = Terminal::start(&node.url());
    terminal.shows(" tidegate gate-7f9c  0.1.0  up 1h ").await;
    terminal.shows("\nada        198.51.100.7 ").await;
    assert!(terminal.text().contains("\u{1b}[?1049h"), "on a screen of its own");
    terminal.press("?").await;
    terminal.shows(" reverse the order\n").await;
    terminal.press("?").await;
    terminal.shows("\nada        198.51.100.7 ").await;
    terminal.press("p").await;
    terminal.shows("  PAUSED\n").await;
    terminal.press("p/bo\r").await;
    terminal.shows(" 2 with \"bo\" by received ").await;
    eventually("the node is asked", async || {
        node.asked("/sessions?limit=50&sort=received&order=desc&search=bo").then_some(())
    })
    .await;

    drop(node);
    terminal.shows(", asking again: Connection refused").await;
    let again = eventually("its port is free", async || TcpListener::bind(address).await.ok()).await;
    let node = Node::listen(again, None);
    terminal.shows("  live\n").await;
    assert!(node.asked("/status"));

    terminal.press("q").await;
    assert_eq!(terminal.ends().await, Some(0));
}

#[tokio::test]
async fn the_terminal_is_given_back_however_it_ends() {
    let node = Node::start().await;
    let mut by_key = Terminal::start(&node.url());
    by_key.shows("198.51.100.7").await;
    by_key.press("\x03").await;
    assert_eq!(by_key.ends().await, Some(0));

    let by_signal = Terminal::start(&node.url());
    by_signal.shows("198.51.100.7").await;
    let text = by_signal.text();
    let pid = text.split_once("PID ").and_then(|(_, rest)| rest.split_once('.')).unwrap().0;
    let killed = Command::new("kill").args(["-TERM", pid]).status().await.unwrap();
    assert!(killed.success());
    assert_eq!(by_signal.ends().await, Some(0));
}
