//! The React example with `@tidegate/client` in Chromium: what its user sees while network and service come and go.

use std::time::Duration;

use crate::support::{Gate, Value, json, node, ports::Port, token, token::SECRET as NEXTAUTH_SECRET};

/// It builds the page, waits for a dozen measurements, and lets the service die, on a machine that is busy with something else.
/// What never comes is given up earlier, by the page.
const PATIENCE: Duration = Duration::from_secs(420);

/// What the page showed and the service received, behind a gate with this in its file.
async fn played(settings: &str, way: &str) -> Value {
    let port = Port::reserve();
    let gate = Gate::before_url(&format!("http://{}", port.address)).with(settings).unready().await;
    let arguments = [gate.url(), gate.admin_url(""), port.address.port().to_string(), token("ada"), way.to_owned()];
    let browser = node::start("react_page.mjs", &arguments, &[("NEXTAUTH_SECRET", NEXTAUTH_SECRET)]);
    let ended = tokio::time::timeout(PATIENCE, browser.wait_with_output()).await.expect("the page was played").unwrap();
    assert!(ended.status.success(), "its errors are above");
    let seen: Value = serde_json::from_slice(&ended.stdout).unwrap();
    // Seen only where an assertion fails.
    eprintln!("{seen:#}");
    assert_eq!(seen["violations"], json!([]));
    seen
}

#[tokio::test]
async fn a_page_loses_nothing_and_says_how_the_connection_is() {
    let seen = played("rate_limit = []", "socket.io").await;

    // The badge shows a latency; at 300 ms, and what a slow machine adds, the grade falls within three checks.
    assert!(seen["quality"]["badge"].as_str().unwrap().contains("ms"));
    let grades = seen["quality"]["slowed"].as_array().unwrap();
    let fell = grades.last().is_some_and(|last| last == "fair" || last == "poor");
    assert!(fell && grades.len() <= 3, "{grades:?}");

    // Ten messages survive a reload, and come once each, in order.
    let offline = &seen["offline"];
    assert!(offline["badge"].as_str().unwrap().contains("Offline"));
    assert_eq!((&offline["written"], &offline["heardMeanwhile"]), (&json!(10), &json!([])));
    assert_eq!(offline["heard"], numbered("offline", 10));

    // The message was not acknowledged, so the page still has it.
    assert_eq!(seen["killed"], json!({ "waits": 1, "heard": ["killed between"] }));

    // One more than fits: the oldest goes, and the page says which.
    assert!(seen["overfull"]["told"].as_str().unwrap().ends_with("many 1"));
    assert_eq!(seen["overfull"]["kept"], true);

    let tabs = &seen["tabs"];
    assert_eq!((&tabs["first"], &tabs["second"]), (&numbered("first tab", 3), &numbered("second tab", 3)));
    assert_eq!(tabs["crashed"], numbered("crashed", 3));
}

/// The service hears an ordinary event, and its answer comes back.
#[tokio::test]
async fn a_page_without_socket_io_reaches_the_service_over_the_bridge() {
    let bridge =
        "auth.token_from = [\"connect:token\", \"query:token\"]\n[[websocket]]\npath = \"/ws\"\nbridge = \"/\"";
    let seen = played(bridge, "websocket").await;
    assert_eq!(seen["bridged"]["heard"], json!(["over the bridge"]));
    assert!(seen["bridged"]["answer"].as_str().unwrap().contains("You said: over the bridge"));
    assert!(seen["bridged"]["badge"].as_str().unwrap().contains("ms"));
}

fn numbered(what: &str, count: usize) -> Value {
    (1..=count).map(|number| format!("{what} {number}")).collect()
}
