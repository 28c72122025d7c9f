//! A changed file is taken up while everybody stays connected; a bad one changes nothing.

use std::{fs, io::Write as _, process::Command};

use tempfile::TempDir;

use crate::support::{
    Client, Gate, Pki, Service, Way, eventually, http, json,
    pki::SecretFolder,
    soon,
    token::{SECRET, now, signed, token},
};

const WIDE: &str = "[[rate_limit]]\nmessages = 1000\nper = \"1h\"";
const NARROW: &str = "[[rate_limit]]\nmessages = 3\nper = \"1h\"";

/// Asks until the gate refuses; so many were answered by the service.
async fn answered(client: &Client) -> usize {
    for asked in 0..900 {
        if client.ask("echo", json!([{}])).await["rateLimited"] == true {
            return asked;
        }
    }
    panic!("there is no limit");
}

/// Waits until the limit of three holds for a session that was opened under the wide one.
async fn narrowed(gate: &Gate, client: &Client) {
    gate.log().wait(&["configuration reloaded"]).await;
    // A packet or two may pass before every thread has heard of it.
    let passed = answered(client).await;
    assert!((3..50).contains(&passed), "{passed} passed");
    assert_eq!(client.untaken("disconnect"), 0);
    gate.counts(1.0, "tidegate_config_reload_success", &[]).await;
}

#[tokio::test]
async fn sighup_brings_new_limits_to_open_sessions() {
    let service = Service::start().await;
    let mut gate = Gate::before(&service).with(WIDE).await;
    let mut clients = Vec::new();
    for way in Way::ALL {
        let client = gate.client_by(way, token("ada")).await;
        client.ask("echo", json!([{}])).await;
        clients.push(client);
    }

    gate.change(NARROW);
    gate.signal("HUP");

    for client in &clients {
        narrowed(&gate, client).await;
    }
}

#[tokio::test]
async fn a_changed_file_is_noticed() {
    let service = Service::start().await;
    let mut gate = Gate::before(&service).with(WIDE).await;
    let client = gate.client(token("ada")).await;

    gate.change(NARROW);

    narrowed(&gate, &client).await;
}

#[tokio::test]
async fn a_change_while_the_node_starts_is_read_and_sighup_does_not_end_it() {
    let service = Service::start().await;
    let folder = TempDir::new().unwrap();
    let [pipe, secret] = ["pipe", "secret"].map(|name| folder.path().join(name));
    fs::write(&secret, SECRET).unwrap();
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for signals in [false, true] {
        let setup = Gate::before(&service).with(&format!("auth.secret = {{ file = {pipe:?} }}\n{WIDE}"));
        let starting = setup.meanwhile(async |gate: &mut Gate| {
            // It is opened when the gate reads it, which has read its configuration then.
            let pipe = pipe.clone();
            let opened = tokio::task::spawn_blocking(move || fs::OpenOptions::new().write(true).open(pipe));
            let mut opened = soon("the gate reads the secret", opened).await.unwrap().unwrap();
            gate.change(&format!("auth.secret = {{ file = {secret:?} }}\n{NARROW}"));
            if signals {
                gate.signal("HUP");
            }
            opened.write_all(SECRET.as_bytes()).unwrap();
        });
        let gate = starting.await;
        gate.log().wait(&["configuration reloaded: auth.secret, rate_limit[0].messages changed\""]).await;
        narrowed(&gate, &gate.client(token("ada")).await).await;
    }
}

#[tokio::test]
async fn a_config_map_that_kubernetes_swaps_is_noticed() {
    let service = Service::start().await;
    let mut gate = Gate::before(&service).with(WIDE).in_config_map().await;
    let client = gate.client(token("ada")).await;

    gate.change(NARROW);

    narrowed(&gate, &client).await;
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_is_reported() {
    let service = Service::start().await;
    let mut gate = Gate::before(&service).with(WIDE).await;
    let client = gate.client(token("ada")).await;
    gate.counts(1.0, "tidegate_config_reload_success", &[]).await;

    gate.change("[[rate_limit]]\nmessages = 3\nper = \"60\"");

    gate.counts(0.0, "tidegate_config_reload_success", &[]).await;
    gate.log().wait(&["rate_limit[0].per"]).await;
    for _ in 0..10 {
        assert_eq!(client.ask("echo", json!([7])).await, 7);
    }
    // And it is left behind with the next good one.
    gate.change(NARROW);
    narrowed(&gate, &client).await;
}

#[tokio::test]
async fn what_is_wrong_with_a_changed_file_is_logged_with_its_line() {
    let (pki, service) = (Pki::new(), Service::start().await);
    let folder = SecretFolder::of(&pki.localhost(1));
    let mut gate = Gate::before(&service).over_tls(&pki, &folder).await;
    for (change, key, told) in [
        (
            "session.retry_events = [\"save\", \"\"]",
            "session.retry_events",
            "session.retry_events[1] is empty; write a name",
        ),
        (
            "session.retry_events = []\nauth.forward_claims = { X-User = \"sub\", x-user = \"sub\" }",
            "auth.forward_claims",
            "auth.forward_claims.x-user is repeated",
        ),
        (
            "auth.forward_claims = {}\ntls.client_ca = \"/nowhere/ca.crt\"",
            "tls.client_ca",
            "tls.client_ca: /nowhere/ca.crt cannot be read",
        ),
    ] {
        gate.change(change);
        let told = format!("tidegate.toml:{}: {told}", gate.line_of(key));
        gate.log().wait(&["the configuration was not reloaded, the old one stays in force", &told]).await;
    }
    gate.counts(0.0, "tidegate_config_reload_success", &[]).await;
}

#[tokio::test]
async fn a_new_secret_holds_for_new_sessions() {
    let service = Service::without_auth().await;
    let secrets = TempDir::new().unwrap();
    let file = secrets.path().join("secret");
    fs::write(&file, SECRET).unwrap();
    let gate = Gate::before(&service).with(&format!("auth.secret = {{ file = {file:?} }}")).await;
    let stays = gate.client(token("ada")).await;

    fs::write(&file, "another secret of thirty-two bytes!\n").unwrap();
    gate.signal("HUP");

    eventually("the old secret is refused", async || {
        gate.connect(json!({ "token": token("ada") })).await.settled().await.err()
    })
    .await;
    let claims = json!({ "sub": "ada", "exp": now() + 60 });
    gate.client(signed(&claims, "another secret of thirty-two bytes!")).await;
    assert_eq!(stays.ask("echo", json!([1])).await, 1);
}

#[tokio::test]
async fn the_keys_that_changed_are_told_and_no_value() {
    let service = Service::start().await;
    let mut gate = Gate::before(&service).with(WIDE).await;

    gate.change(
        "log.level = \"debug\"\nauth.issuer = \"https://issuer.example\"\n[[rate_limit]]\nmessages = 999\nper = \"1h\"",
    );
    gate.log().wait(&["configuration reloaded: auth.issuer, rate_limit[0].messages, log.level changed\""]).await;
    assert!(gate.log().containing("issuer.example").is_empty());

    gate.signal("HUP");
    gate.log().wait(&["configuration reloaded: nothing changed\""]).await;
}

#[tokio::test]
async fn a_key_that_needs_a_restart_is_told_at_each_reload_until_it_is_as_it_runs() {
    let service = Service::start().await;
    let mut gate = Gate::before(&service)
        .with("metrics.event_names = 300\nmetrics.event_name_bytes = 64\nsession.hold = \"30s\"")
        .await;
    let differs = "what runs differs from the configuration until the next start: metrics.event_names, metrics.event_name_bytes\"";

    gate.change("metrics.event_names = 299\nmetrics.event_name_bytes = 99");
    gate.log().wait(&["configuration reloaded: nothing changed that takes effect now\""]).await;
    gate.log().wait(&[differs]).await;

    gate.change("session.hold = \"31s\"");
    gate.log().wait(&["configuration reloaded: session.hold changed\""]).await;
    eventually("it is told again", async || (gate.log().containing(differs).len() == 2).then_some(())).await;

    gate.change("metrics.event_names = 300\nmetrics.event_name_bytes = 64");
    gate.log().wait(&["configuration reloaded: nothing changed\""]).await;
    gate.change("session.hold = \"32s\"");
    eventually("the last change", async || {
        (gate.log().containing("configuration reloaded: session.hold changed").len() == 2).then_some(())
    })
    .await;
    assert_eq!(gate.log().containing("what runs differs").len(), 2, "it is as it runs");
}

#[tokio::test]
async fn a_file_that_the_next_start_would_lack_fails_the_reload_until_it_is_there() {
    let (pki, service) = (Pki::new(), Service::start().await);
    let mut gate = Gate::before(&service).await;
    let client = gate.client(token("ada")).await;
    let folder = TempDir::new().unwrap();
    let tls = folder.path().join("run").join("tls");
    let (certificate, private_key) = (tls.join("tls.crt"), tls.join("tls.key"));

    gate.change(&format!("tls.certificate = {certificate:?}\ntls.private_key = {private_key:?}"));
    let place = format!("tidegate.toml:{}: tls.certificate: ", gate.line_of("tls.certificate"));
    gate.log().wait(&["the configuration was not reloaded", &place, "cannot be read"]).await;
    gate.counts(0.0, "tidegate_config_reload_success", &[]).await;

    let pair = pki.localhost(1);
    fs::create_dir_all(&tls).unwrap();
    fs::write(&private_key, &pair.private_key).unwrap();
    fs::write(&certificate, &pair.certificate).unwrap();
    gate.counts(1.0, "tidegate_config_reload_success", &[]).await;
    gate.log().wait(&["nothing changed that takes effect now; the mistakes are gone"]).await;
    gate.log().wait(&["what runs differs from the configuration until the next start: tls\""]).await;
    assert_eq!(client.ask("echo", json!([1])).await, 1, "over plain HTTP, as before");
}

#[tokio::test]
async fn a_cache_that_the_next_start_could_not_write_fails_the_reload_and_not_a_check() {
    let service = Service::start().await;
    let mut gate = Gate::before(&service).await;
    let folder = TempDir::new().unwrap();
    // Even root cannot write it.
    let lock = folder.path().join("lock");
    fs::create_dir(&lock).unwrap();

    gate.change(&format!("tls.acme.domains = [\"a.test\"]\ntls.acme.cache = {:?}", folder.path()));
    let place = format!("tidegate.toml:{}: tls.acme.cache: ", gate.line_of("tls.acme.cache"));
    gate.log().wait(&["the configuration was not reloaded", &place, "lock cannot be written"]).await;
    gate.counts(0.0, "tidegate_config_reload_success", &[]).await;
    assert_eq!(gate.cli(&["check", "FILE"]).await.code, Some(0), "another user may run it");

    fs::remove_dir(&lock).unwrap();
    gate.signal("HUP");
    gate.log().wait(&["nothing changed that takes effect now; the mistakes are gone"]).await;
    gate.counts(1.0, "tidegate_config_reload_success", &[]).await;
    assert!(!lock.exists(), "asking makes nothing");
}

#[tokio::test]
async fn an_address_that_another_program_has_is_told_before_the_next_start() {
    let service = Service::start().await;
    let mut gate = Gate::before(&service).await;
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap();

    gate.change(&format!("listen.address = \"{taken}\""));

    let place = format!("tidegate.toml:{}: listen.address is {taken}", gate.line_of("listen.address"));
    gate.log().wait(&["WARN", &place, "cannot be listened on now"]).await;
    gate.log().wait(&["until the next start: listen.address\""]).await;
    gate.counts(1.0, "tidegate_config_reload_success", &[]).await;
}

#[tokio::test]
async fn a_file_that_vanishes_is_told_by_its_name_and_its_return_too() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let (file, away) = (gate.file(), gate.file().with_extension("away"));

    fs::rename(&file, &away).unwrap();
    gate.log().wait(&["the configuration was not reloaded", "tidegate.toml: cannot be read: No such file"]).await;
    gate.counts(0.0, "tidegate_config_reload_success", &[]).await;

    fs::rename(&away, &file).unwrap();
    gate.log().wait(&["configuration reloaded: nothing changed; the mistakes are gone"]).await;
    gate.counts(1.0, "tidegate_config_reload_success", &[]).await;
}

#[tokio::test]
async fn secrets_in_files_are_replaced_without_a_signal() {
    const NEW: &str = "another secret of thirty-two bytes!";
    let service = Service::without_auth().await;
    let secrets = TempDir::new().unwrap();
    let (secret, operator) = (secrets.path().join("secret"), secrets.path().join("operator"));
    fs::write(&secret, SECRET).unwrap();
    fs::write(&operator, "token-of-operator-one").unwrap();
    let settings = format!("auth.secret = {{ file = {secret:?} }}\nadmin.token = {{ file = {operator:?} }}");
    let gate = Gate::before(&service).with(&settings).await;
    let stays = gate.client(token("ada")).await;
    let operators = async |token: &str| {
        let bearer = format!("Bearer {token}");
        http::request("GET", &gate.admin_url("/sessions"), &[("authorization", &bearer)], "").await.status
    };

    // It is emptied: the one before counts, and that is told.
    fs::write(&secret, "").unwrap();
    let place = format!("tidegate.toml:{}: auth.secret: ", gate.line_of("auth.secret"));
    gate.log().wait(&["the new file cannot be used, what it said before stays in force", &place]).await;
    gate.counts(0.0, "tidegate_config_reload_success", &[]).await;
    gate.counts(1.0, "tidegate_certificate_reload_success", &[]).await;
    gate.client(token("bob")).await;

    fs::write(&secret, NEW).unwrap();
    gate.log().wait(&["the file of auth.secret was read again"]).await;
    gate.counts(1.0, "tidegate_config_reload_success", &[]).await;
    let claims = json!({ "sub": "ada", "exp": now() + 60 });
    gate.client(signed(&claims, NEW)).await;
    gate.connect(json!({ "token": token("eve") })).await.refused().await;
    assert_eq!(stays.ask("echo", json!([1])).await, 1);

    assert_eq!((operators("token-of-operator-one").await, operators("token-of-operator-two").await), (200, 401));
    fs::write(&operator, "token-of-operator-two").unwrap();
    gate.log().wait(&["the file of admin.token was read again"]).await;
    assert_eq!((operators("token-of-operator-one").await, operators("token-of-operator-two").await), (401, 200));
    assert!(gate.log().containing(NEW).is_empty() && gate.log().containing("token-of-operator-two").is_empty());
}

#[tokio::test]
async fn a_new_file_that_is_read_at_the_start_alone_is_not_told_as_in_force() {
    let service = Service::start().await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("secret");
    fs::write(&file, SECRET).unwrap();
    let gate = Gate::before(&service).with(&format!("cluster.secret = {{ file = {file:?} }}")).await;
    let waits = "the file of cluster.secret has changed: what runs differs from it until the next start";

    fs::write(&file, "another secret of thirty-two bytes!").unwrap();
    gate.log().wait(&["WARN", waits]).await;
    fs::write(&file, "a third secret of thirty-two bytes!").unwrap();
    gate.signal("HUP");
    gate.log().wait(&["configuration reloaded: nothing changed\""]).await;
    gate.log().wait_for(2, &["WARN", waits]).await;
    assert!(gate.logged().await.containing("cluster.secret changed").is_empty());
}

#[tokio::test]
async fn another_service_that_would_part_the_nodes_at_their_next_start_is_told() {
    let (one, other) = (Service::start().await, Service::start().await);
    let parts = "the next start takes another cluster.name";
    for (name, is_told) in [("", true), ("\ncluster.name = \"tutor\"", false)] {
        // Nothing needs to answer there.
        let mut gate = Gate::before(&one).with(&format!("redis.url = \"redis://127.0.0.1:1\"{name}")).await;
        gate.change(&format!("upstream.url = {:?}", other.url()));
        gate.log().wait(&["configuration reloaded: upstream.url changed\""]).await;
        assert_eq!(!gate.logged().await.containing(parts).is_empty(), is_told);
        gate.change(&format!("upstream.url = {:?}", one.url()));
        gate.log().wait_for(2, &["configuration reloaded: upstream.url changed\""]).await;
        let told = gate.log().containing(parts).len();
        assert_eq!(gate.logged().await.containing(parts).len(), told, "it is as it runs");
    }
}

#[tokio::test]
async fn a_certificate_that_fails_a_reload_mends_it_when_it_is_replaced() {
    let (pki, service) = (Pki::new(), Service::start().await);
    let mut folder = SecretFolder::of(&pki.localhost(1));
    let gate = Gate::before(&service).over_tls(&pki, &folder).await;
    let successes = ["tidegate_certificate_reload_success", "tidegate_config_reload_success"];

    let mut mixed = pki.localhost(2);
    mixed.private_key = pki.localhost(3).private_key;
    folder.put(&mixed);
    gate.counts(0.0, successes[0], &[]).await;
    gate.counts(1.0, successes[1], &[]).await;
    gate.signal("HUP");
    gate.counts(0.0, successes[1], &[]).await;

    folder.put(&pki.localhost(4));
    for success in successes {
        gate.counts(1.0, success, &[]).await;
    }
    gate.log().wait(&["the file of tls.certificate, the file of tls.private_key changed; the mistakes are gone"]).await;
    assert_eq!(gate.log().containing("new certificate for localhost").len(), 1);
}

#[tokio::test]
async fn a_secret_that_changes_together_with_the_end_of_a_mistake_takes_effect() {
    const NEW: &str = "another secret of thirty-two bytes!";
    let service = Service::without_auth().await;
    let folder = TempDir::new().unwrap();
    let (secret, operator) = (folder.path().join("secret"), folder.path().join("operator"));
    fs::write(&secret, SECRET).unwrap();
    let mut gate = Gate::before(&service).with(&format!("auth.secret = {{ file = {secret:?} }}")).await;
    gate.change(&format!("admin.token = {{ file = {operator:?} }}"));
    gate.counts(0.0, "tidegate_config_reload_success", &[]).await;

    // Each at once: half a file would be another mistake.
    for (file, content) in [(&secret, NEW), (&operator, "token-of-operator-one")] {
        let new = folder.path().join("new");
        fs::write(&new, content).unwrap();
        fs::rename(new, file).unwrap();
    }
    gate.counts(1.0, "tidegate_config_reload_success", &[]).await;

    let claims = json!({ "sub": "ada", "exp": now() + 60 });
    gate.client(signed(&claims, NEW)).await;
    assert!(gate.log().containing("not reloaded").len() == 1, "the same mistake is told once");
}
