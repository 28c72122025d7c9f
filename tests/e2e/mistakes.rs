//! Mistakes that users make in the file: `tidegate check` and a reload say the same of each, with its line.

use crate::support::{
    Gate, Service, Way, eventually, json,
    settings::Settings,
    tidegate::Setup,
    token::{SECRET, token},
};

/// One mistake.
struct Mistake {
    /// What is changed in the file: see [`Settings::change`].
    change: &'static str,
    /// Is `auth.secret` left out?
    keyless: bool,
    /// The last line of the file that begins with this is the one that is told. Empty: the file as a whole is.
    at: &'static str,
}

/// In this change, at this line.
const fn mistake(change: &'static str, at: &'static str) -> Mistake {
    Mistake { change, keyless: false, at }
}

/// The same in a file without `auth.secret`.
const fn keyless(change: &'static str, at: &'static str) -> Mistake {
    Mistake { change, keyless: true, at }
}

const MISTAKES: &[Mistake] = &[
    mistake("limits.conections = 7", "limits.conections"),
    mistake("[[room]]\nname = \"lesson:{arg0.id}\"\njoin_on = \"lesson:join\"", "join_on"),
    mistake("[[room]]\nname = \"user:{claim.sub}\"", "name"),
    mistake("[[mirror]]\nevent = \"disconnect\"\nroom = \"*\"", "event"),
    mistake("[server]\nport = 8080", "[server]"),
    mistake("limits.connections = \"many\"", "limits.connections"),
    mistake("limits.connections = 0", "limits.connections"),
    mistake("[[rate_limit]]\nmessages = 3\nper = \"60\"", "per"),
    mistake("session.hold = 30", "session.hold"),
    mistake("socketio.max_payload = \"1000\"", "socketio.max_payload"),
    mistake("listen.address = \"8443\"", "listen.address"),
    mistake("listen.address = \"127.0.0.1:8\"\nadmin.address = \"127.0.0.1:8\"", "admin.address"),
    mistake("listen.trusted_proxies = [\"10.0.0.0/8\", \"balancer\"]", "listen.trusted_proxies"),
    mistake("upstream.url = \"127.0.0.1:4003\"", "upstream.url"),
    mistake("upstream.url = \"ws://127.0.0.1:4003\"", "upstream.url"),
    mistake("auth.secret = { env = \"EMPTY_SECRET\" }", "auth.secret"),
    mistake("auth.secret = { env = \"NOT_THERE\" }", "auth.secret"),
    mistake("auth.secret = { file = \"/nowhere/secret\" }", "auth.secret"),
    mistake("auth.secret = \"a secret of more than thirty-two bytes!\"", "auth.secret"),
    mistake("auth.secret = { env = \"SHORT_SECRET\" }", "auth.secret"),
    keyless("", ""),
    keyless("auth.required = true", "auth.required"),
    mistake("auth.jwks_url = \"https://issuer.test/keys\"", "auth.jwks_url"),
    keyless("auth.jwks_url = \"http://issuer.test/keys\"\nauth.algorithms = [\"RS256\"]", "auth.jwks_url"),
    keyless("auth.public_key = \"/nowhere/key.pem\"\nauth.algorithms = [\"RS256\"]", "auth.public_key"),
    mistake("auth.algorithms = [\"HS256\", \"none\"]", "auth.algorithms"),
    mistake("auth.forward_claims = { X-User = \"sub\", x-user = \"email\" }", "auth.forward_claims"),
    mistake("auth.forward_claims = { x_user = \"sub\" }", "auth.forward_claims"),
    mistake("admin.token = { file = \"/nowhere/token\" }", "admin.token"),
    mistake("[tls]", "[tls]"),
    mistake("tls.certificate = \"/nowhere/tls.crt\"\ntls.private_key = \"/nowhere/tls.key\"", "tls.certificate"),
    mistake("tls.private_key = \"/nowhere/tls.key\"", "tls.private_key"),
    mistake("admin.token = { env = \"SHORT_SECRET\" }", "admin.token"),
    mistake("auth.secret = { value = \"in the clear\" }", "auth.secret"),
    mistake("[log]\nsession.hold = \"10s\"", "session.hold"),
    mistake("upstream.ulr = \"http://127.0.0.1:9\"", "upstream.ulr"),
    mistake("[tls.acme]\ndomains = []", "domains"),
    mistake("[[rate_limit]]\n[[rate_limit]]\nmessages = 0", "messages"),
    mistake("session.retry_events = [\"save\", \"\"]", "session.retry_events"),
    mistake("[[websocket]]\npath = \"/ws\"\n[[websocket]]\npath = \"/ws\"", "path"),
    mistake("[[websocket]]\npath = \"/socket.io/x\"", "path"),
    mistake("origins.allow = [\"https://app.example.com/\"]", "origins.allow"),
    mistake("socketio.ping_timeout = \"0s\"", "socketio.ping_timeout"),
    mistake("socketio.transports = [\"ws\"]", "socketio.transports"),
    mistake("quality.ping_event = \"disconnect\"", "quality.ping_event"),
    mistake("log.level = \"verbose\"", "log.level"),
    mistake("log.level = \"info", "log.level"),
    mistake("[log]\nlevel = \"info\"\nlevel = \"warn\"", "level"),
];

impl Mistake {
    fn in_settings(&self, mut settings: Settings) -> Settings {
        settings.change(self.change);
        if self.keyless {
            settings.remove("auth.secret");
        }
        settings
    }

    fn in_setup(&self, setup: Setup) -> Setup {
        let setup = setup.with(self.change);
        if self.keyless { setup.without("auth.secret") } else { setup }
    }

    /// Its place in this file, as a message begins with it.
    fn place(&self, toml: &str) -> String {
        if self.at.is_empty() {
            return "tidegate.toml: ".to_owned();
        }
        let begins = |line: &(usize, &str)| line.1.starts_with(self.at);
        let (line, _) = toml.lines().enumerate().filter(begins).last().expect("it is in the file");
        format!("tidegate.toml:{}: ", line + 1)
    }
}

/// The variables that the mistakes are about.
fn with_variables(setup: Setup) -> Setup {
    setup.variable("EMPTY_SECRET", "").variable("SHORT_SECRET", "tooshort")
}

/// The changes with what is told of each, indented.
const TOLD: &str = include_str!("mistakes/told.txt");
const TOLD_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/mistakes/told.txt");
const INDENT: &str = "    tidegate.toml";

/// To take over other texts: `UPDATE_EXPECT=1 cargo nextest run --test e2e mistakes::check`.
#[tokio::test]
async fn check_tells_each_with_its_line() {
    assert!(MISTAKES.len() >= 30);
    let mut found = String::new();
    for mistake in MISTAKES {
        let setup = mistake.in_setup(with_variables(Gate::before_url("http://127.0.0.1:9")));
        let place = mistake.place(&setup.toml());

        let checked = setup.cli(&["check", "FILE"]).await;

        assert_eq!((checked.code, &*checked.stdout), (Some(2), ""), "{}: {checked:?}", mistake.change);
        let told: Vec<_> =
            checked.stderr.lines().filter_map(|line| Some(&line[line.find("tidegate.toml:")?..])).collect();
        assert!(!told.is_empty(), "{}: {}", mistake.change, checked.stderr);
        assert!(told[0].starts_with(&place), "{} is at {place}, not {}", mistake.change, told[0]);
        let change =
            if mistake.keyless { format!("(no auth.secret)\n{}", mistake.change) } else { mistake.change.to_owned() };
        found += &format!("{}\n    {}\n\n", change.trim_end(), told.join("\n    "));
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(TOLD_FILE, &found).unwrap();
    } else {
        assert_eq!(found, TOLD);
    }
}

/// The lines that the gate has logged after so many, with their quotes as they were.
fn logged_after(gate: &Gate, seen: usize) -> Vec<String> {
    gate.log().all().into_iter().skip(seen).map(|line| line.replace("\\\"", "\"").replace("\\\\", "\\")).collect()
}

/// Waits for a line of these words; it comes after so many others.
async fn told(gate: &Gate, seen: usize, words: &str) {
    eventually(&format!("a line with {words:?}"), async || {
        logged_after(gate, seen).iter().any(|line| line.contains(words)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_reload_tells_each_as_check_does_and_goes_on_when_it_is_mended() {
    const RELOADED: &str = "tidegate_config_reload_success";
    let service = Service::start().await;
    let mut gate = with_variables(Gate::before(&service)).await;
    let mut clients = Vec::new();
    for way in Way::ALL {
        clients.push(gate.client_by(way, token("ada")).await);
    }
    let good = gate.settings();
    let messages: Vec<Vec<_>> = TOLD
        .split_terminator("\n\n")
        .map(|told| told.lines().filter(|line| line.starts_with(INDENT)).map(str::trim_start).collect())
        .collect();
    assert_eq!(messages.len(), MISTAKES.len());
    for (mistake, messages) in MISTAKES.iter().zip(messages) {
        let bad = mistake.in_settings(good.clone());
        let seen = gate.log().all().len();

        gate.write(&bad);

        for message in &messages {
            told(&gate, seen, message).await;
        }
        gate.counts(0.0, RELOADED, &[]).await;
        let lines = logged_after(&gate, seen);
        let failures = lines.iter().filter(|line| line.contains("was not reloaded, the old one stays in force"));
        assert_eq!(failures.count(), messages.len(), "{}: {lines:#?}", mistake.change);

        gate.write(&good);

        told(&gate, seen, "configuration reloaded: nothing changed; the mistakes are gone").await;
        gate.counts(1.0, RELOADED, &[]).await;
        for client in &clients {
            assert_eq!(client.ask("echo", json!([mistake.change])).await, mistake.change);
        }
    }
    for client in &clients {
        assert_eq!(client.untaken("disconnect"), 0);
    }
    gate.counts(0.0, "websocket_disconnections_total", &[]).await;
    assert!(gate.log().containing(SECRET).is_empty() && gate.log().containing("tooshort").is_empty());
}
