//! The demo's page and service behind the real program: Chromium presses each button and reads what the page shows.

use std::{net::TcpListener, time::Duration};

use crate::support::{Gate, Value, json, node};

#[path = "../../examples/demo/args.rs"]
mod args;
#[path = "../../examples/demo/life.rs"]
mod life;
#[path = "../../examples/demo/line.rs"]
mod line;
#[path = "../../examples/demo/log.rs"]
mod log;
#[path = "../../examples/demo/pages.rs"]
mod pages;
#[path = "../../examples/demo/service.rs"]
mod service;
#[path = "../../examples/demo/stage.rs"]
mod stage;
#[path = "../../examples/demo/token.rs"]
mod token;
#[path = "../../examples/demo/tutor.rs"]
mod tutor;

use self::{life::Life, line::Line, log::LogBook, pages::Pages, stage::Stage};

/// Two deaths and returns, ten waits for a measurement, and the start of Chromium, on a machine that is busy with something
/// else. What never comes is given up earlier, by the page.
const PATIENCE: Duration = Duration::from_secs(420);
/// As delivered, but so slow that nothing is given back while a page is slow to send all of its messages.
const LIMIT: &str = "[[rate_limit]]\nmessages = 100\nper = \"1h\"";
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What the page showed.
async fn played() -> Value {
    let secret = token::Secret::random().unwrap();
    let file = secret.to_file().unwrap();
    let [front, controls] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let (url, stage) = (format!("http://{}", front.local_addr().unwrap()), controls.local_addr().unwrap());
    let (life, line, log) = (Life::new(), Line::default(), LogBook::default());
    let service = service::start(Pages { secret, stage }, life.clone()).unwrap();
    let gate = Gate::before_url(&format!("http://{service}"))
        .with(&format!("auth.secret = {{ file = \"{}\" }}", file.path().display()))
        .with("log.format = \"text\"\nsocketio.ping_interval = \"2s\"\nlisten.client_script = true")
        .with(LIMIT)
        .await;
    line.start(front, gate.address).unwrap();
    let (lines, book) = (gate.log().clone(), log.clone());
    Stage { life, line, log, admin: gate.admin_address() }.start(controls).unwrap();
    let copies = async {
        let mut copied = 0;
        loop {
            let all = lines.all();
            all[copied..].iter().for_each(|line| book.add(line));
            copied = all.len();
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };

    let browser = node::start("demo_page.mjs", &[url], &[]);
    let ended = tokio::select! {
        ended = tokio::time::timeout(PATIENCE, browser.wait_with_output()) => ended.expect("the page was played").unwrap(),
        () = copies => unreachable!("it has no end"),
    };
    assert!(ended.status.success(), "its errors are above");
    serde_json::from_slice(&ended.stdout).unwrap()
}

#[test]
fn it_says_that_it_has_no_arguments_and_starts_with_none() {
    let said = |args: &[&str]| args::instead_of_a_start(&args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>());
    assert_eq!(said(&[]), None);
    let (help, code) = said(&["--help"]).unwrap();
    assert_eq!(code, 0);
    for part in ["no arguments", "127.0.0.1", "4003", "9464"] {
        assert!(help.contains(part), "{help}");
    }
    for wrong in [&["--port", "1"][..], &["--help", "more"], &[""]] {
        let (mistake, code) = said(wrong).unwrap();
        assert!(code == 2 && mistake.contains(&format!("{:?} is not known", wrong[0])), "{mistake}");
    }
}

#[tokio::test]
async fn the_page_shows_what_happens_to_each_message() {
    let seen = played().await;
    // Seen only where an assertion fails.
    eprintln!("{seen:#}");

    // The commands are those of the README.
    let yours = seen["yours"].as_str().unwrap();
    assert!(yours.contains("[upstream]\n") && yours.contains("tidegate run"), "{yours}");
    let refusal = seen["badToken"].as_str().unwrap();
    assert!(refusal.contains("Invalid authentication token") && refusal.contains("the client has stopped trying"));

    the_service_was_killed(&seen["killed"]);

    let tunnel = &seen["tunnel"];
    assert_eq!(tunnel["offline"]["client"], "offline");
    assert_eq!(tunnel["squares"], json!({ "waiting": 0, "answered": 10, "refused": 0, "lost": 0 }));
    assert!(tunnel["told"].as_str().unwrap().starts_with("All ten arrived, once each and in order"));

    let burst = &seen["burst"];
    assert_eq!(burst["squares"], json!({ "waiting": 0, "answered": 100, "refused": 1, "lost": 0 }));
    assert_eq!(burst["told"], "The service answered 100. Tidegate answered 1, which was over the limit.");
    assert_eq!(burst["last"], r#"{"error":"Rate limit exceeded. Please slow down.","rateLimited":true}"#);
    assert!(burst["log"].as_str().unwrap().contains("packets_refused=1"));

    let slow = &seen["slow"];
    // A slow machine adds to what the line takes.
    assert!(["fair", "poor"].contains(&slow["grades"][1].as_str().unwrap()), "{slow}");
    let by_gate = slow["told"].as_str().unwrap().split("Tidegate: ").nth(1).and_then(|rest| rest.split(' ').next());
    assert!(by_gate.unwrap().parse::<u32>().unwrap() >= 250, "{slow}");

    the_messages_outlived_a_reload(&seen["reloaded"]);
    assert_eq!(seen["between"][1], "answered", "its service was killed before the ack");

    let overfull = &seen["overfull"];
    assert_eq!((&overfull["figures"]["waiting"], &overfull["figures"]["dropped"]), (&json!(100), &json!(1)));
    assert!(overfull["told"].as_str().unwrap().ends_with("“Message 1 of 101”."));
    assert_eq!(overfull["cleared"]["waiting"], 0);

    assert_eq!(seen["violations"], json!([]));
    // The browser itself notes each request that was answered with 502.
    let complaints = seen["complaints"].as_array().unwrap().iter().filter_map(Value::as_str);
    let others: Vec<_> = complaints.filter(|one| !one.contains("502 (Bad Gateway)")).collect();
    assert_eq!(others, [""; 0]);
}

/// While it is dead the client is connected, and messages wait; then every one is answered, and the page says so.
fn the_service_was_killed(killed: &Value) {
    for dead in [&killed["early"], &killed["late"]] {
        assert_eq!(dead["client"], "connected, websocket");
        assert!(dead["service"].as_str().unwrap().starts_with("dead, back in "));
        assert!(dead["told"].as_str().unwrap().starts_with("The service is dead."));
    }
    let waiting = |of: &Value| of["life"]["waiting"].as_u64().unwrap();
    assert!(waiting(&killed["late"]) > waiting(&killed["early"]));
    assert_eq!((&killed["chat"][0][1], &killed["chat"][1][1]), (&json!("gate"), &json!("answered")));
    let life = &killed["life"];
    assert_eq!((&life["waiting"], &life["refused"], &life["lost"]), (&json!(0), &json!(0), &json!(0)));
    assert!(life["answered"].as_u64().unwrap() >= 5);
    let told = killed["told"].as_str().unwrap();
    assert!(told.contains(", none lost.") && told.ends_with("The client was never disconnected."), "{told}");
}

/// Ten messages wait in the browser, are still there after a reload, and the service counts each once, in order.
fn the_messages_outlived_a_reload(reloaded: &Value) {
    assert_eq!(reloaded["written"]["waiting"], 10);
    assert_eq!(
        (&reloaded["waiting"]["client"], &reloaded["waiting"]["figures"]["waiting"]),
        (&json!("offline"), &json!(10))
    );
    let arrived = reloaded["arrived"].as_array().unwrap();
    let texts: Vec<_> = arrived.iter().map(|each| each[0].as_str().unwrap().to_owned()).collect();
    assert_eq!(texts, (1..=10).map(|count| format!("By hand, {count}")).collect::<Vec<_>>());
    let number = |each: &Value| each[2].as_str().unwrap().rsplit(' ').next().unwrap().parse::<u32>().unwrap();
    let numbers: Vec<_> = arrived.iter().map(number).collect();
    assert_eq!(numbers, (numbers[0]..numbers[0] + 10).collect::<Vec<_>>());
}
