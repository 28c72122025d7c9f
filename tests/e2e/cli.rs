//! The command line: what it says of a file, the tokens it makes, and how it ends.

use std::net::TcpListener;

use crate::support::{Gate, Service, Value, json, ports::Port, tidegate::Setup, token::SECRET};

/// A setup whose program is not meant to run for long, so that it needs no service.
fn setup() -> Setup {
    Gate::before_url("http://127.0.0.1:9")
}

#[tokio::test]
async fn check_says_in_one_line_what_was_checked() {
    let checked = setup().variable("TIDEGATE__AUTH__LEEWAY", "5s").cli(&["check", "FILE"]).await;
    assert_eq!((checked.code, &*checked.stderr), (Some(0), ""), "{checked:?}");
    let (file, behind) = checked.stdout.trim_end().split_once(" and ").unwrap();
    assert!(file.starts_with("ok: ") && file.ends_with("tidegate.toml"), "{file}");
    assert_eq!(behind, "1 environment variable; read: auth.secret; no address was opened");

    let warned = setup().without("auth.secret").with("auth.required = false").cli(&["check", "FILE"]).await;
    assert_eq!(warned.code, Some(0), "{warned:?}");
    assert!(warned.stderr.contains("warning: auth.required is false"), "{warned:?}");
    let told = "and 0 environment variables; no secret, key or certificate is named; no address was opened\n";
    assert!(warned.stdout.ends_with(told) && warned.stdout.lines().count() == 1, "{warned:?}");

    let no_file = setup().variable("TIDEGATE__AUTH__REQUIRED", "false").cli(&["check"]).await;
    assert!(no_file.stdout.starts_with("ok: no file and 1 environment variable; "), "{no_file:?}");
    let nothing = setup().cli(&["check"]).await;
    assert_eq!((nothing.code, &*nothing.stdout), (Some(2), ""), "{nothing:?}");
    assert!(
        nothing.stderr.contains("\ntidegate: no file was read: there is no /etc/tidegate/tidegate.toml"),
        "{nothing:?}"
    );
}

#[tokio::test]
async fn check_prints_what_the_file_comes_to() {
    let setup = setup().with(r#"limits.connections = 7"#).variable("TIDEGATE__AUTH__LEEWAY", "5s");

    let checked = setup.cli(&["check", "FILE", "--print"]).await;

    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.stdout.contains("connections = 7"), "from the file: {}", checked.stdout);
    assert!(checked.stdout.contains("leeway = \"5s\""), "from the environment: {}", checked.stdout);
    assert!(checked.stdout.contains("messages = 100"), "from the defaults: {}", checked.stdout);
    assert!(!checked.stdout.contains(SECRET), "{}", checked.stdout);
    assert!(checked.stderr.starts_with("tidegate: ok: ") && checked.stderr.lines().count() == 1, "{checked:?}");
    let folder = tempfile::tempdir().unwrap();
    let printed = folder.path().join("printed.toml");
    std::fs::write(&printed, &checked.stdout).unwrap();
    let again = setup.cli(&["check", "--print", printed.to_str().unwrap()]).await;
    assert_eq!(again.stdout, checked.stdout, "standard output is a configuration");
}

#[tokio::test]
async fn every_subcommand_takes_the_file_by_its_place_or_by_its_option() {
    for by in [&["FILE"][..], &["--config", "FILE"]] {
        for command in [&["check"][..], &["token", "--sub", "ada"]] {
            let done = setup().cli(&[command, by].concat()).await;
            assert_eq!((done.code, &*done.stderr), (Some(0), ""), "{command:?} {by:?}: {done:?}");
        }
        let refused = setup().with("limits.connections = 0").cli(&[&["run"][..], by].concat()).await;
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.stderr.contains("limits.connections is 0"), "{refused:?}");
    }
    for command in [&["run"][..], &["check"], &["token", "--sub", "ada"]] {
        let both = setup().cli(&[command, &["FILE", "--config", "other.toml"]].concat()).await;
        assert_eq!((both.code, &*both.stdout), (Some(2), ""), "{both:?}");
        assert!(both.stderr.starts_with("tidegate: two files are named, "), "{both:?}");
        assert!(both.stderr.ends_with(" and --config other.toml; name one\n"), "{both:?}");
    }
}

#[tokio::test]
async fn all_mistakes_are_told_at_once() {
    let setup = setup()
        .with("limits.conections = 7\nlimits.requests = 0\nauth.leeway = 5\nlisten.trusted_proxies = [\"a\", \"b\"]")
        .variable("TIDEGATE__LOGG__LEVEL", "info");

    let checked = setup.cli(&["check", "FILE"]).await;

    assert_eq!((checked.code, &*checked.stdout), (Some(2), ""), "{checked:?}");
    for key in [
        "limits.conections is",
        "limits.requests is",
        "auth.leeway is",
        "listen.trusted_proxies[0] is",
        "listen.trusted_proxies[1] is",
        "environment variable TIDEGATE__LOGG__LEVEL: logg is",
    ] {
        assert_eq!(checked.stderr.matches(key).count(), 1, "{key}: {}", checked.stderr);
    }
    assert_eq!(checked.stderr.lines().count(), 6, "{}", checked.stderr);
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_told_by_line_and_key() {
    // (what is in the file, what the message says of it)
    let table: &[(&str, &[&str])] = &[
        ("[[rate_limit]]\nmessages = 3\nper = \"60\"", &["rate_limit[0].per", "\"60\"", "unit"]),
        ("limits.conections = 7", &["conections", "connections"]),
        ("limits.connections = \"many\"", &["limits.connections", "many"]),
        ("auth.token_from = [\"header\", \"body\"]", &["auth.token_from", "body"]),
        ("auth.algorithms = [\"none\"]", &["auth.algorithms", "none"]),
        ("upstream.url = \"127.0.0.1\"", &["upstream.url"]),
        ("redis.url = \"127.0.0.1\"", &["redis.url"]),
        ("auth.leeway = \"2m\"", &["auth.leeway", "60"]),
    ];
    for (toml, expected) in table {
        let checked = setup().with(toml).cli(&["check", "FILE"]).await;
        assert_eq!((checked.code, &*checked.stdout), (Some(2), ""), "{toml}: {checked:?}");
        for part in *expected {
            assert!(checked.stderr.contains(part), "{toml} should tell {part}: {}", checked.stderr);
        }
        assert!(has_line(&checked.stderr), "{toml} should tell the line: {}", checked.stderr);

        let refused = setup().with(toml).fails().await;
        assert_eq!(refused.code, Some(2), "{toml} should not start: {refused:?}");
    }
}

/// Whether it says `tidegate.toml:LINE`.
fn has_line(message: &str) -> bool {
    let behind = message.split("tidegate.toml:").nth(1);
    behind.is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

#[tokio::test]
async fn a_line_number_is_the_line() {
    let checked = setup().with("[[rate_limit]]\nmessages = 3\n\nper = \"60\"").cli(&["check", "FILE"]).await;

    let lines_before = setup().toml().lines().count();
    assert!(checked.stderr.contains(&format!("tidegate.toml:{}:", lines_before + 4)), "{}", checked.stderr);
}

#[tokio::test]
async fn schema_and_reference_are_printed() {
    let schema = setup().cli(&["check", "--schema"]).await;
    let schema: Value = serde_json::from_str(&schema.stdout).unwrap();
    assert!(schema["properties"]["rate_limit"].is_object(), "{schema}");

    let reference = setup().cli(&["check", "--reference"]).await;
    assert_eq!(reference.code, Some(0));
    assert!(reference.stdout.contains("[limits]"), "{}", reference.stdout);
}

#[tokio::test]
async fn a_token_that_the_program_makes_is_let_in() {
    let service = Service::start().await;
    let setup =
        Gate::before(&service).with("auth.issuer = \"https://front.example\"\nauth.audience = \"orchestrator\"");
    let made = setup.cli(&["token", "--config", "FILE", "--sub", "ada", "--ttl", "5m"]).await;
    let expired = setup.cli(&["token", "--config", "FILE", "--sub", "ada", "--claim", "exp=1"]).await;
    assert_eq!((made.code, &*made.stderr), (Some(0), ""));
    let gate = setup.await;

    let client = gate.client(made.stdout.trim().to_owned()).await;
    service.emit("ada", "tutor:message", json!(["hello"])).await;
    client.next("tutor:message").await;

    let refused = gate.connect(json!({ "token": expired.stdout.trim() })).await.refused().await;
    assert_eq!(refused["data"]["code"], "auth.expired");
}

#[tokio::test]
async fn without_a_good_secret_nothing_starts() {
    let none = setup().without("auth.secret").fails().await;
    assert_eq!(none.code, Some(2), "{none:?}");
    assert!(none.stderr.contains("auth.required"), "{none:?}");

    let weak = || setup().variable("NEXTAUTH_SECRET", "tooshort");
    let refused = weak().fails().await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("auth.secret") && !refused.stderr.contains("tooshort"), "{refused:?}");
    let checked = weak().with("auth.allow_weak_secret = true").cli(&["check", "FILE"]).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");

    let absent = setup().with(r#"auth.secret = { env = "NOT_THERE" }"#).fails().await;
    assert_eq!(absent.code, Some(2), "{absent:?}");
    assert!(absent.stderr.contains("NOT_THERE"), "{absent:?}");

    let in_the_file = setup().with(r#"auth.secret = "a secret of more than thirty-two bytes!""#).fails().await;
    assert_eq!(in_the_file.code, Some(2), "{in_the_file:?}");
    assert!(!in_the_file.stderr.contains("more than thirty-two"), "it is not repeated: {in_the_file:?}");
}

#[tokio::test]
async fn an_address_that_is_taken_is_a_failure_of_its_own() {
    let taken = Port::reserve();
    let _listener = TcpListener::bind(taken.address).unwrap();

    let refused = setup().with(&format!("listen.address = \"{}\"", taken.address)).fails().await;

    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains(&taken.address.to_string()), "{refused:?}");
    assert!(refused.stderr.contains("listen.address"), "{refused:?}");
}

#[tokio::test]
async fn a_misuse_is_told_and_help_given() {
    let misuse = setup().cli(&["chekc"]).await;
    assert_eq!((misuse.code, &*misuse.stdout), (Some(2), ""));
    assert!(misuse.stderr.contains("check"), "{misuse:?}");
    let name = setup().cli(&["run", "FILE", "--listen", "localhost:8443"]).await;
    assert_eq!(name.code, Some(2), "{name:?}");
    assert!(name.stderr.contains("an address is IP:PORT, not a name, for example \"127.0.0.1:8443\""), "{name:?}");

    let help = setup().cli(&["--help"]).await;
    assert_eq!((help.code, &*help.stderr), (Some(0), ""));
    let version = setup().cli(&["--version"]).await;
    assert!(version.stdout.starts_with("tidegate "), "{version:?}");
}
