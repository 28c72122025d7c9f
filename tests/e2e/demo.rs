//! The demo's page and service behind the real program: Chromium presses each button and reads what the page shows.

use crate::support::{Gate, Value, json, node};

#[path = "../../examples/demo/service.rs"]
mod service;
#[path = "../../examples/demo/token.rs"]
mod token;

/// Two kills and their returns, and the start of Chromium.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(100);

#[tokio::test]
async fn the_page_shows_what_happens_to_each_message() {
    let secret = token::Secret::random().unwrap();
    let file = secret.to_file().unwrap();
    let service = service::start(secret).unwrap();
    let gate = Gate::before_url(&format!("http://{service}"))
        .with(&format!("auth.secret = {{ file = \"{}\" }}", file.path().display()))
        .await;

    let browser = node::start("demo_page.mjs", &[gate.url()], &[]);
    let ended = tokio::time::timeout(PATIENCE, browser.wait_with_output()).await.expect("the page was played").unwrap();
    assert!(ended.status.success(), "its errors are above");
    let seen: Value = serde_json::from_slice(&ended.stdout).unwrap();

    // The commands are those of the README.
    let yours = seen["yours"].as_str().unwrap();
    assert!(yours.contains("[upstream]\n") && yours.contains("tidegate run"), "{yours}");
    assert!(seen["badToken"].as_str().unwrap().contains("Invalid authentication token"), "{seen:#}");
    assert!(seen["badToken"].as_str().unwrap().contains("the client has stopped trying"), "{seen:#}");

    let burst = &seen["burst"];
    assert_eq!(burst["squares"], json!({ "waiting": 0, "answered": 100, "refused": 1, "lost": 0 }), "{seen:#}");
    assert_eq!(burst["told"], "The service answered 100. Tidegate answered 1, which was over the limit.");
    assert!(burst["last"].as_str().unwrap().starts_with("answered by Tidegate: over the limit\n{"), "{seen:#}");

    // While it is dead: the client is connected, messages wait, and the wait grows.
    for dead in seen["dead"].as_array().unwrap() {
        assert_eq!(dead["client"], "connected, websocket", "{seen:#}");
        assert!(dead["service"].as_str().unwrap().starts_with("down, back "), "{seen:#}");
        assert!(dead["told"].as_str().unwrap().starts_with("The service is dead."), "{seen:#}");
    }
    let number = |of: &Value, key: &str| of[key].as_f64().unwrap();
    let (early, late) = (&seen["dead"][0], &seen["dead"][1]);
    for key in ["waits", "waiting"] {
        assert!(number(late, key) > number(early, key), "{key}: {seen:#}");
    }
    assert!(seen["lesson"]["waiting"].as_str().unwrap().starts_with("sent, waiting in Tidegate"), "{seen:#}");

    // Back: every one is answered, and the page says so.
    let (back, life) = (&seen["back"], &seen["back"]["life"]);
    assert_eq!((&life["waiting"], &life["refused"], &life["lost"]), (&json!(0), &json!(0), &json!(0)), "{seen:#}");
    assert!(life["answered"].as_u64().unwrap() >= 5, "{seen:#}");
    let told = back["told"].as_str().unwrap();
    assert!(told.contains(", none lost.") && told.ends_with("The client was never disconnected."), "{told}");
    assert!(seen["lesson"]["answered"].as_str().unwrap().starts_with("answered by the service"), "{seen:#}");
    assert_eq!((&seen["again"]["life"]["answered"], &seen["again"]["told"]), (&json!(0), &json!("")), "{seen:#}");
    assert_eq!(seen["disconnections"], "0");
    // The browser itself notes each request that was answered with 502.
    let complaints = seen["complaints"].as_array().unwrap().iter().filter_map(Value::as_str);
    let others: Vec<_> = complaints.filter(|one| !one.contains("502 (Bad Gateway)")).collect();
    assert_eq!(others, [""; 0]);
}
