//! `tidegate doctor`: each thing that is wrong is found and said, and beside it stands the same where it is right.

use std::{fs, net::TcpListener, time::Duration};

use crate::support::{
    Gate, Pki, Redis, Service, Value, eventually,
    frame::{TEXT, unmasked},
    issuer::Issuer,
    json,
    pki::{Request, SecretFolder},
    ports::Port,
    scripted::Scripted,
    tidegate::{Outcome, Setup},
    token,
    token::{SECRET, now, token_for},
};

/// What a service may be reached at beside 127.0.0.1: it is as far from there as the address of a pod.
const POD_IP: (&str, &str) = ("POD_IP", "127.0.0.2");

/// The lines of one check: the first word is how it stands.
fn lines<'a>(outcome: &'a Outcome, check: &str) -> Vec<&'a str> {
    let of_check = |line: &&str| line.split_whitespace().nth(1) == Some(check);
    let lines: Vec<_> = outcome.stdout.lines().filter(of_check).collect();
    assert!(!lines.is_empty(), "nothing on {check}: {outcome:?}");
    lines
}

/// One of the lines of that check begins with `status`, and has this in it.
fn says(outcome: &Outcome, status: &str, check: &str, part: &str) {
    let lines = lines(outcome, check);
    let found = lines.iter().any(|line| line.starts_with(&format!("{status} ")) && line.contains(part));
    assert!(found, "{status} {check} should say {part:?}: {lines:#?}");
}

/// No line of that check fails or warns.
fn is_well(outcome: &Outcome, check: &str) {
    let lines = lines(outcome, check);
    assert!(lines.iter().all(|line| line.starts_with("ok ") || line.starts_with("skip ")), "{lines:#?}");
}

/// Before this URL, with the doctor told where the pod is.
fn before(url: &str) -> Setup {
    Gate::before_url(url).variable(POD_IP.0, POD_IP.1)
}

/// A service that nobody has to reach.
fn before_nothing() -> Setup {
    before("http://127.0.0.1:9")
}

async fn examined(setup: &Setup) -> Outcome {
    setup.cli(&["doctor", "FILE"]).await
}

#[tokio::test]
async fn a_gate_that_has_all_it_needs_is_well() {
    let (service, redis) = (Service::start().await, Redis::start().await);
    let gate = before(&service.url()).with(&format!("redis.url = {:?}", redis.url())).await;

    let found = gate.cli(&["doctor", "FILE"]).await;

    assert_eq!((found.code, &*found.stderr), (Some(0), ""), "{found:?}");
    for check in ["configuration", "node", "bypass", "service", "keys", "clock", "certificate", "dns", "memory"] {
        is_well(&found, check);
    }
    says(&found, "ok", "node", "runs and is ready");
    says(&found, "ok", "node", "the running configuration is that of these sources");
    says(&found, "ok", "bypass", "127.0.0.2");
    says(&found, "ok", "service", "Engine.IO 4, a ping every");
    says(&found, "ok", "keys", "auth.secret has 32 bytes");
    assert!(lines(&found, "redis")[0].contains("a master"), "{found:?}");
    says(&found, "ok", "clock", "the clock of Redis agrees with this machine's");
    assert!(!found.stdout.contains(SECRET), "no secret is shown: {found:?}");
    let order: Vec<_> = found.stdout.lines().map(|line| line.split_whitespace().nth(1).unwrap()).collect();
    let places = [
        "configuration",
        "node",
        "bypass",
        "service",
        "certificate",
        "keys",
        "redis",
        "clock",
        "descriptors",
        "memory",
        "dns",
    ];
    assert!(order.is_sorted_by_key(|check| places.iter().position(|place| place == check).unwrap()), "{order:?}");
}

#[tokio::test]
async fn for_scripts_there_is_json_and_an_exit_code() {
    let service = Service::start().await;
    let found = before(&service.url()).cli(&["doctor", "--json", "FILE"]).await;
    let report: Value = serde_json::from_str(&found.stdout).unwrap();
    // No gate runs here, which is no mistake before a start.
    assert_eq!((found.code, &report["status"]), (Some(0), &json!("warn")), "{report}");
    let node = report["checks"].as_array().unwrap().iter().find(|one| one["check"] == "node").unwrap();
    let said = node["found"].as_str().unwrap();
    assert!(said.starts_with("no gate runs here, by admin.address: ") && !said.contains("the service"), "{said}");
    // In a pod it also says by which command.
    assert!(node["fix"].as_str().unwrap().starts_with("start it, or run this where it runs"), "{node}");

    let failed = before_nothing().cli(&["doctor", "--json", "FILE"]).await;
    let report: Value = serde_json::from_str(&failed.stdout).unwrap();
    assert_eq!((failed.code, &report["status"]), (Some(1), &json!("fail")), "{report}");

    // A configuration that cannot be read, one that cannot be used, and a command line.
    let unread = before_nothing().with("limits.conections = 7").cli(&["doctor", "FILE"]).await;
    assert_eq!((unread.code, unread.stdout.lines().count()), (Some(2), 1), "{unread:?}");
    says(&unread, "fail", "configuration", "limits.conections");
    let unused = before(&service.url()).with("limits.connections = 0").cli(&["doctor", "FILE"]).await;
    assert_eq!(unused.code, Some(2), "{unused:?}");
    says(&unused, "fail", "configuration", "limits.connections is 0");
    is_well(&unused, "service");
    for wrong in
        [&["doctor", "FILE", "--bypass", "a:1"][..], &["doctor", "--token-file", "a"], &["doctor", "--handshake", "a"]]
    {
        let misused = before_nothing().cli(wrong).await;
        assert_eq!((misused.code, &*misused.stdout), (Some(2), ""), "{misused:?}");
    }
}

#[tokio::test]
async fn a_service_that_listens_everywhere_can_be_reached_around_the_gate() {
    let (everywhere, loopback) = (Service::with(&[("HOST", "0.0.0.0")]).await, Service::start().await);
    // From within the pod a NetworkPolicy is not seen: that is told, and no failure.
    for (service, within, part, status, code) in [
        (&everywhere, "warn", "let it listen on 127.0.0.1:", "fail", 1),
        (&loopback, "ok", "through the gate alone", "ok", 0),
    ] {
        let port = service.address().port();
        let found = examined(&before(&service.url())).await;
        says(&found, within, "bypass", &format!("127.0.0.2:{port}"));
        says(&found, within, "bypass", part);
        assert_eq!(found.code, Some(0), "{found:?}");

        let elsewhere = before_nothing().cli(&["doctor", "--bypass", &format!("127.0.0.2:{port}")]).await;
        says(&elsewhere, status, "bypass", &format!("127.0.0.2:{port}"));
        assert_eq!((elsewhere.code, elsewhere.stdout.lines().count()), (Some(code), 1), "{elsewhere:?}");
    }
    let gateway = examined(&before("http://service.invalid:4003")).await;
    says(&gateway, "skip", "bypass", "tidegate doctor --bypass service.invalid:4003");
    let nobody = Port::reserve();
    let absent = examined(&before(&format!("http://{}", nobody.address))).await;
    says(&absent, "skip", "bypass", "the service does not run");
}

#[tokio::test]
async fn the_gate_itself_is_no_way_around_it() {
    let service = Service::start().await;
    let port = service.address().port();
    let setup = before(&service.url()).with(&format!("listen.address = \"127.0.0.2:{port}\""));
    let gate = TcpListener::bind(("127.0.0.2", port)).unwrap();
    says(&examined(&setup).await, "skip", "bypass", "is the gate's own address");
    drop(gate);
}

#[tokio::test]
async fn what_the_service_is_not_is_told() {
    let open = |behind: &str| {
        let open = r#"0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":5000,"maxPayload":1000}"#;
        [unmasked(TEXT, open.as_bytes()), unmasked(TEXT, behind.as_bytes())].concat()
    };
    let (old, small) = (Scripted::upgraded(&open("40")).await, Scripted::upgraded(&open("2")).await);
    let no_http = Scripted::start("SSH-2.0-OpenSSH_9.2\r\n\r\n").await;
    let not_found = Scripted::start("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
    let guarded = Service::refusing(&json!({ "status": 401, "body": "Unauthorized" })).await;
    let polling_only = Service::refusing(&json!({ "transports": ["polling"] })).await;
    let nobody = Port::reserve();
    for (url, status, part) in [
        (old.url(), "fail", "Socket.IO 2"),
        (small.url(), "warn", "over 1000 bytes"),
        (no_http.url(), "fail", "did not answer the handshake"),
        (not_found.url(), "fail", "set socketio.path to that of the service"),
        (guarded.url(), "warn", "refuses a handshake without a token (401"),
        (polling_only.url(), "fail", "lack \"websocket\""),
        (format!("http://{}", nobody.address), "fail", "does the service run"),
        ("http://service.invalid:4003".to_owned(), "fail", "does the service run"),
    ] {
        let found = examined(&before(&url)).await;
        says(&found, status, "service", part);
        assert_eq!(found.code, Some(i32::from(status == "fail" || url.contains("invalid"))), "{found:?}");
    }
    let unnamed = examined(&before("http://service.invalid:4003")).await;
    says(&unnamed, "fail", "dns", "service.invalid (upstream.url) has no address");
    let named = examined(&before("http://localhost:9")).await;
    assert!(lines(&named, "dns")[0].contains("localhost (upstream.url) is "), "{named:?}");
}

#[tokio::test]
async fn plain_routes_are_tried_too() {
    let service = Service::plain().await;
    let with = |path: &str| before(&service.url()).with(&format!("[[websocket]]\npath = {path:?}"));
    says(&examined(&with("/ws")).await, "ok", "service", "the route /ws is answered");
    says(&examined(&with("/ws/*")).await, "skip", "service", "the route /ws/*");
    let other = Scripted::start("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
    let found = examined(&before(&other.url()).with("[[websocket]]\npath = \"/ws\"")).await;
    says(&found, "fail", "service", "refuses a WebSocket at /ws");
}

#[tokio::test]
async fn a_service_that_says_nothing_is_told_in_one_line_whatever_its_routes() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let routes = "[[websocket]]\npath = \"/ws\"\n[[websocket]]\npath = \"/feed\"";
    let found = examined(&before(&format!("http://{}", silent.local_addr().unwrap())).with(routes)).await;
    let told = lines(&found, "service");
    assert!(told.len() == 1 && told[0].contains("did not complete the handshake within 4s"), "{told:?}");
}

#[tokio::test]
async fn certificates_are_judged_by_their_end_their_key_and_their_names() {
    let pki = Pki::new();
    let day = Duration::from_secs(24 * 3600);
    let long = || Request::server(&["localhost"]).ending_in(day * 90);
    let foreign = pki.issue(&long());
    let mut other_key = pki.issue(&long());
    other_key.private_key = foreign.private_key;
    for (pair, status, part, code) in [
        (pki.issue(&long()), "ok", "for localhost, with its key, in 1 certificate, ends in 89 days", 1),
        (pki.issue(&long().ending_in(day * 10)), "ok", "ends in 9 days", 1),
        (pki.issue(&long().ending_in(Duration::from_secs(3 * 3600))), "warn", "renew it", 1),
        (pki.issue(&long().expired()), "fail", "expired", 2),
        (other_key, "fail", "does not belong to the certificate", 2),
    ] {
        let folder = SecretFolder::of(&pair);
        let setup = before_nothing().over_tls(&pki, &folder);
        let found = setup.cli(&["doctor", "FILE", "--name", "localhost"]).await;
        says(&found, status, "certificate", part);
        // There is no service in this scenario.
        assert_eq!(found.code, Some(code), "{found:?}");
        let covered = if status == "fail" { "fail" } else { "ok" };
        says(
            &found,
            covered,
            "certificate",
            if status == "fail" { "no certificate is for localhost" } else { "there is a certificate for localhost" },
        );
    }
    let folder = SecretFolder::of(&pki.issue(&long()));
    let ca = folder.file("ca.crt", &pki.authority());
    let setup = before_nothing().over_tls(&pki, &folder).with(&format!("tls.client_ca = {ca:?}"));
    let found = setup.cli(&["doctor", "FILE", "--name", "other.test"]).await;
    says(&found, "fail", "certificate", "no certificate is for other.test");
    says(&found, "ok", "certificate", "an authority of tests");
}

#[tokio::test]
async fn the_cache_of_an_order_is_looked_at_and_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("acme");
    let with = |cache: &std::path::Path| {
        before_nothing().with(&format!("tls.acme.domains = [\"a.test\"]\ntls.acme.cache = {cache:?}"))
    };
    let found = with(&cache).cli(&["doctor", "FILE", "--name", "a.test"]).await;
    says(&found, "ok", "certificate", "can be written to");
    says(&found, "warn", "certificate", "has been ordered yet");
    says(&found, "ok", "certificate", "there is a certificate for a.test");
    assert!(!cache.exists());
    let found = examined(&with(std::path::Path::new("/proc/self/acme"))).await;
    says(&found, "fail", "certificate", "cannot be written to");
}

#[tokio::test]
async fn redis_is_asked_for_all_that_a_node_needs_of_it() {
    let password = "hunter2-of-the-tests";
    let mut redis = Redis::setup().password(password).acl("mute", password, "+@all -psubscribe ~* &*").start().await;
    let with = |user: &str, password: &str| {
        before_nothing()
            .with(&format!("redis.url = {:?}\nredis.password = {{ env = \"REDIS_PASSWORD\" }}{user}", redis.url()))
            .variable("REDIS_PASSWORD", password)
    };
    let [well, mute, wrong] =
        [with("", password), with("\nredis.username = \"mute\"", password), with("", "another-password")];
    let found = examined(&well).await;
    assert_eq!(lines(&found, "redis").len(), 1, "{found:?}");
    assert!(lines(&found, "redis")[0].contains(" is Redis "), "on a busy machine its PING may be slow: {found:?}");
    says(&examined(&mute).await, "fail", "redis", "does not let this user subscribe");
    says(&examined(&wrong).await, "fail", "redis", "redis.password");
    redis.kill().await;
    let down = examined(&well).await;
    says(&down, "fail", "redis", "does Redis run");
    assert_eq!(down.code, Some(1), "{down:?}");
    assert!(!down.stdout.contains(password) && !found.stdout.contains(password));
}

#[tokio::test]
async fn keys_of_an_issuer_are_fetched_and_compared_with_the_algorithms() {
    let issuer = Issuer::start().await;
    issuer.add_key("ES256", "a").await;
    let with = |algorithms: &str| {
        before_nothing()
            .without("auth.secret")
            .with(&format!("auth.jwks_url = {:?}\nauth.algorithms = {algorithms}", issuer.jwks_url()))
    };
    for (algorithms, status, part) in [
        ("[\"ES256\"]", "ok", "1 key after"),
        ("[\"ES256\", \"RS256\"]", "warn", "none of them for RS256"),
        ("[\"RS256\"]", "fail", "set auth.algorithms"),
    ] {
        let found = examined(&with(algorithms)).await;
        says(&found, status, "keys", part);
        says(&found, "ok", "clock", "the server of auth.jwks_url agrees");
    }
    issuer.answer_with(500).await;
    says(&examined(&with("[\"ES256\"]")).await, "fail", "keys", "500");
}

/// An issuer whose clock is so many seconds ahead, with another header in its answer.
async fn issuer_ahead(seconds: u64, header: &str) -> Scripted {
    let keys =
        r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"a"}]}"#;
    let date = std::time::UNIX_EPOCH + Duration::from_secs(now() + seconds);
    let date = httpdate::fmt_http_date(date);
    let length = keys.len();
    Scripted::start(format!("HTTP/1.1 200 OK\r\nDate: {date}\r\n{header}Content-Length: {length}\r\n\r\n{keys}")).await
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_found() {
    // On a slow machine the answer comes later, and the clock is less ahead: not below the next bound.
    for (ahead, header, status, part) in [
        (0, "", "ok", "agrees"),
        (28, "", "warn", "s ahead of this machine's"),
        (3600, "", "fail", "auth.leeway is 30 s"),
        // A cache repeats the date of when it was filled.
        (3600, "Age: 1\r\n", "skip", "except of a cache"),
    ] {
        let issuer = issuer_ahead(ahead, header).await;
        let setup = before_nothing()
            .without("auth.secret")
            .with(&format!("auth.jwks_url = \"{}/jwks\"\nauth.algorithms = [\"EdDSA\"]", issuer.url()));
        says(&examined(&setup).await, status, "clock", part);
    }
}

#[tokio::test]
async fn a_running_gate_is_compared_with_its_file() {
    let service = Service::start().await;
    let mut gate = before(&service.url()).await;
    gate.change("metrics.event_names = 7");
    eventually("the change is told", async || {
        let found = gate.cli(&["doctor", "FILE"]).await;
        lines(&found, "node").iter().any(|line| line.contains("at a start differ: metrics.event_names")).then_some(())
    })
    .await;
    gate.change("limits.connections = 0");
    eventually("the reload that failed is told", async || {
        let found = gate.cli(&["doctor", "FILE"]).await;
        lines(&found, "node")
            .iter()
            .any(|line| line.contains("the last reload of the configuration failed"))
            .then_some(())
    })
    .await;
    let found = gate.cli(&["doctor", "FILE"]).await;
    assert_eq!(found.code, Some(2), "the file cannot be used: {found:?}");
}

#[tokio::test]
async fn a_gate_that_is_not_ready_says_why() {
    let (service, redis) = (Service::start().await, Port::reserve());
    let settings = format!("redis.url = \"redis://{}\"\nredis.required = true", redis.address);
    let gate = before(&service.url()).with(&settings).unready().await;
    let told = eventually("its condition is told", async || {
        let found = gate.cli(&["doctor", "FILE"]).await;
        lines(&found, "node").iter().any(|line| line.contains("not ready, redis: ")).then_some(found)
    })
    .await;
    says(&told, "fail", "node", "does Redis run");
    assert_eq!(told.code, Some(1), "{told:?}");
}

#[tokio::test]
async fn what_the_operator_alone_may_read_is_read_with_the_token() {
    let service = Service::start().await;
    let gate = before(&service.url()).with("admin.token = { env = \"ADMIN\" }").variable("ADMIN", SECRET).await;
    let found = gate.cli(&["doctor", "FILE"]).await;
    says(&found, "ok", "node", "the running configuration is that of these sources");
    assert!(!found.stdout.contains(SECRET));
    let other = before(&service.url())
        .with(&format!("admin.address = \"{}\"\nadmin.token = {{ env = \"ADMIN\" }}", gate.admin_address()))
        .variable("ADMIN", "another-token-of-operators");
    says(&examined(&other).await, "skip", "node", "the gate has another admin.token");
}

#[tokio::test]
async fn the_handshake_says_what_a_client_sees() {
    let mut service = Service::start().await;
    let gate = Gate::before(&service).await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, token: &str| {
        let path = folder.path().join(name);
        fs::write(&path, format!("{token}\n")).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (good, expired) = (file("good", &token("ada")), file("expired", &token_for("ada", -3600)));
    for (args, status, part, code) in [
        (&[][..], "ok", "lets nobody in without a token (auth.missing)", 0),
        (&["--token-file", &good], "ok", "the gate lets this token in", 0),
        (&["--token-file", &expired], "fail", "(auth.expired)", 1),
    ] {
        let found = gate.cli(&[&["doctor", "--handshake", &gate.url()], args].concat()).await;
        assert_eq!((found.code, found.stdout.lines().count()), (Some(code), 2), "{found:?}");
        for transport in ["polling: ", "websocket: "] {
            says(&found, status, "handshake", transport);
        }
        says(&found, status, "handshake", part);
    }
    let wrong_path = gate.cli(&["doctor", "--handshake", &format!("{}/other/", gate.url())]).await;
    assert_eq!(wrong_path.code, Some(1), "{wrong_path:?}");
    let nobody = Port::reserve();
    let nothing = gate.cli(&["doctor", "--handshake", &format!("http://{}", nobody.address)]).await;
    says(&nothing, "fail", "handshake", "cannot connect to the gate");
    assert_eq!(nothing.code, Some(1), "{nothing:?}");

    service.kill().await;
    let held = gate.cli(&["doctor", "--handshake", &gate.url(), "--token-file", &good]).await;
    says(&held, "fail", "handshake", "the CONNECT is not answered");
    let guarded = gate.cli(&["doctor", "--handshake", &gate.url()]).await;
    says(&guarded, "ok", "handshake", "(auth.missing)");
    assert_eq!((held.code, guarded.code), (Some(1), Some(0)), "{held:?} {guarded:?}");
}

#[tokio::test]
async fn what_answers_at_the_operators_address_may_be_something_else() {
    let other = Scripted::start("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
    let found = examined(&before_nothing().with(&format!("admin.address = \"{}\"", other.address))).await;
    says(&found, "fail", "node", "is no gate");
}

#[tokio::test]
async fn a_gate_that_asks_for_no_token_or_takes_one_transport_is_no_mistake() {
    let service = Service::without_auth().await;
    let open = Gate::before(&service).without("auth.secret").with("auth.required = false").await;
    let found = open.cli(&["doctor", "--handshake", &open.url()]).await;
    says(&found, "ok", "handshake", "a session is opened without a token");
    assert_eq!(found.code, Some(0), "{found:?}");

    let one = Gate::before(&service).with("socketio.transports = [\"websocket\"]").await;
    let found = one.cli(&["doctor", "--handshake", &one.url()]).await;
    says(&found, "skip", "handshake", "polling: ");
    says(&found, "ok", "handshake", "websocket: ");
    assert_eq!(found.code, Some(0), "{found:?}");
}

#[tokio::test]
async fn over_tls_the_gate_must_be_trusted() {
    let (service, pki) = (Service::start().await, Pki::new());
    let folder = SecretFolder::of(&pki.localhost(1));
    let ca = folder.file("ca.crt", &pki.authority());
    let gate = Gate::before(&service).over_tls(&pki, &folder).await;
    let trusted = gate.cli(&["doctor", "--handshake", &gate.url(), "--ca", ca.to_str().unwrap()]).await;
    says(&trusted, "ok", "handshake", "auth.missing");
    assert_eq!(trusted.code, Some(0), "{trusted:?}");
    let other = folder.file("other.crt", &Pki::new().authority());
    let foreign = gate.cli(&["doctor", "--handshake", &gate.url(), "--ca", other.to_str().unwrap()]).await;
    says(&foreign, "fail", "handshake", "set --ca to that authority");
    assert_eq!(foreign.code, Some(1), "{foreign:?}");
}
