//! Clients that repeat what they have no ack of, and those that wait for an ack, when the service is killed with one open.

use std::{fs, path::PathBuf, time::Duration};

use tokio::{task::JoinHandle, time::sleep};

use crate::support::{Client, Gate, Service, Value, Way, client::Driver, eventually, json, token};

/// A service that writes down each order that it stores, in a file that survives it.
struct Shop {
    service: Service,
    journal: PathBuf,
    _folder: tempfile::TempDir,
}

impl Shop {
    async fn opens() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("journal");
        fs::write(&journal, "").unwrap();
        let service = Service::with(&[("JOURNAL", journal.to_str().unwrap())]).await;
        Self { service, journal, _folder: folder }
    }

    fn stored(&self) -> Vec<String> {
        fs::read_to_string(&self.journal).unwrap().lines().map(str::to_owned).collect()
    }

    /// The process is gone until this is over.
    async fn go_down(&mut self, meanwhile: impl Future<Output = ()>) {
        self.service.kill().await;
        meanwhile.await;
        self.service.restart().await;
    }
}

fn order(seq: u32) -> Value {
    json!([{ "client": "ada", "seq": seq }])
}

fn orders(client: &Client, seq: u32, timeout: Option<u64>) -> JoinHandle<Value> {
    let client = client.clone();
    tokio::spawn(async move { client.attempt("step", order(seq), timeout).await })
}

/// A client of the gate, or of the service itself.
async fn client(gate: Option<&Gate>, shop: &Shop, mut options: Value) -> Client {
    let auth = json!({ "token": token("ada") });
    let client = match gate {
        Some(gate) => gate.connect_with(auth, options).await,
        None => {
            options["forceNew"] = true.into();
            Client::begin(Driver::start(), &shop.service.url(), auth, options).await
        }
    };
    client.connected().await;
    client
}

async fn gate(shop: &Shop, settings: &str) -> Gate {
    Gate::before(&shop.service).with("rate_limit = []").with(settings).await
}

/// Waits until an order is on its way to a service that does not read it.
async fn on_its_way(gate: Option<&Gate>, client: &Client) {
    match gate {
        Some(gate) => orders_seen(gate, 1.0).await,
        None => eventually("the order has left", async || (client.open_acks().await > 0).then_some(())).await,
    }
}

/// Waits until so many orders, or repeats of one, have come to the gate.
async fn orders_seen(gate: &Gate, least: f64) {
    eventually("the client has repeated its order", async || (orders_so_far(gate).await >= least).then_some(())).await;
}

async fn orders_so_far(gate: &Gate) -> f64 {
    gate.metrics().await.sum("websocket_messages_received_total", &[("event", "step")])
}

/// Options of clients that repeat: their time passes in the outage, or it does not. (Without `ackTimeout` the stock client
/// takes each ack for an error.)
fn repeating() -> [Value; 2] {
    [json!({ "retries": 100, "ackTimeout": 300 }), json!({ "retries": 3, "ackTimeout": PATIENT })]
}

/// An `ackTimeout` in which a service that is there answers, however busy the machine.
const PATIENT: u32 = 15_000;

/// The service is down until a client whose time passes has repeated its order, more than once. From then on it waits for its
/// acks: a service that is only slow would get an order again, with the gate and without.
async fn repeats_and_waits(gate: Option<&Gate>, client: &Client, options: &Value) {
    if options["ackTimeout"] == PATIENT {
        return;
    }
    if let Some(gate) = gate {
        orders_seen(gate, orders_so_far(gate).await + 2.0).await;
    }
    client.set_ack_timeout(PATIENT).await;
    if let Some(gate) = gate {
        // On a busy machine the next one that comes to the gate may have been sent before.
        let before = client.tries().await;
        eventually("it repeats its order once more", async || (client.tries().await > before).then_some(())).await;
        orders_seen(gate, client.tries().await as f64).await;
    }
}

async fn is_stored_once(through_gate: bool, settings: &str, way: Way, mut options: Value, in_flight: bool) {
    let what = format!("gate {through_gate}, {settings}, {way:?}, {options}, in flight {in_flight}");
    let mut shop = Shop::opens().await;
    let gate = if through_gate { Some(gate(&shop, settings).await) } else { None };
    for (key, value) in way.options().as_object().unwrap() {
        options[key] = value.clone();
    }
    let client = client(gate.as_ref(), &shop, options.clone()).await;
    let ordered = if in_flight {
        shop.service.freeze();
        let ordered = orders(&client, 0, None);
        on_its_way(gate.as_ref(), &client).await;
        shop.go_down(repeats_and_waits(gate.as_ref(), &client, &options)).await;
        ordered
    } else {
        shop.service.kill().await;
        match &gate {
            Some(gate) => gate.counts(1.0, "tidegate_held_sessions", &[]).await,
            None => drop(client.disconnected().await),
        }
        let ordered = orders(&client, 0, None);
        repeats_and_waits(gate.as_ref(), &client, &options).await;
        shop.service.restart().await;
        ordered
    };
    assert_eq!(ordered.await.unwrap(), json!({ "seq": 0 }), "{what}");
    // What is behind it is sent when it has its ack.
    assert_eq!(client.attempt("step", order(1), None).await, json!({ "seq": 1 }), "{what}");
    assert_eq!(client.attempt("step", order(2), None).await, json!({ "seq": 2 }), "{what}");
    // No copy of it is on its way any more.
    sleep(Duration::from_millis(if through_gate { 2500 } else { 500 })).await;
    assert_eq!(client.attempt("step", order(3), None).await, json!({ "seq": 3 }), "{what}");
    assert_eq!(shop.stored(), ["ada 0", "ada 1", "ada 2", "ada 3"], "{what}");
    if through_gate {
        assert_eq!(client.untaken("disconnect"), 0, "{what}");
    }
}

#[tokio::test]
async fn an_order_whose_ack_is_open_when_the_service_is_killed_is_stored_once() {
    for options in repeating() {
        is_stored_once(true, "", Way::Websocket, options, true).await;
    }
}

#[tokio::test]
async fn without_the_gate_the_order_is_stored_once() {
    for options in repeating() {
        is_stored_once(false, "", Way::Websocket, options.clone(), true).await;
        is_stored_once(false, "", Way::Websocket, options, false).await;
    }
}

#[tokio::test]
async fn an_order_that_waits_for_the_service_is_stored_once() {
    for options in repeating() {
        is_stored_once(true, "", Way::Websocket, options, false).await;
    }
}

#[tokio::test]
async fn an_order_of_a_client_that_polls_is_stored_once() {
    for (options, in_flight) in repeating().into_iter().zip([true, false]) {
        is_stored_once(true, "", Way::Polling, options, in_flight).await;
    }
}

#[tokio::test]
async fn an_order_that_the_gate_would_send_again_itself_is_stored_once() {
    for options in repeating() {
        is_stored_once(true, "session.retry_events = [\"step\"]", Way::Websocket, options, true).await;
    }
}

#[tokio::test]
async fn an_order_is_stored_once_where_sessions_with_lost_acks_are_closed() {
    let mut shop = Shop::opens().await;
    let gate = gate(&shop, "session.on_lost_ack = \"close\"").await;
    let client = client(Some(&gate), &shop, json!({ "retries": 3, "ackTimeout": PATIENT })).await;
    let other = gate.client(token("bob")).await;
    shop.service.freeze();
    let ordered = orders(&client, 0, None);
    on_its_way(Some(&gate), &client).await;
    shop.go_down(async {}).await;

    assert_eq!(client.disconnected().await, "transport close");
    assert_eq!(ordered.await.unwrap(), json!({ "seq": 0 }));
    assert_eq!(shop.stored(), ["ada 0"]);
    gate.counts(1.0, "websocket_disconnections_total", &[("reason", "acks_lost")]).await;
    gate.log().wait(&[r#""cause":"acks_lost""#, "session.on_lost_ack"]).await;
    assert_eq!(other.ask("echo", json!([1])).await, 1);
    assert_eq!(other.untaken("disconnect"), 0, "no ack of it was open");
}

/// What an event without `retries` hears that was on its way: through the gate as it is set, or directly.
async fn hears(settings: Option<&str>, timeout: Option<u64>) -> Value {
    let mut shop = Shop::opens().await;
    let gate = match settings {
        Some(settings) => Some(gate(&shop, settings).await),
        None => None,
    };
    let client = client(gate.as_ref(), &shop, json!({})).await;
    shop.service.freeze();
    let ordered = orders(&client, 0, timeout);
    on_its_way(gate.as_ref(), &client).await;
    if timeout.is_some() {
        shop.service.kill().await;
        let heard = ordered.await.unwrap();
        shop.service.restart().await;
        return heard;
    }
    shop.go_down(async {}).await;
    let heard = ordered.await.unwrap();
    assert_eq!(shop.stored(), [""; 0]);
    heard
}

#[tokio::test]
async fn a_client_that_waits_for_its_ack_hears_of_the_loss_as_the_setting_says() {
    let restarted = json!({ "error": "Service restarted", "retriable": true });
    let disconnected = json!({ "rejected": "socket has been disconnected" });
    let timed_out = json!({ "rejected": "operation has timed out" });
    assert_eq!(hears(Some(""), None).await, restarted);
    assert_eq!(hears(Some("session.on_lost_ack = \"close\""), None).await, disconnected);
    assert_eq!(hears(None, None).await, disconnected, "without the gate");
    assert_eq!(hears(Some(""), Some(400)).await, timed_out, "its own error comes first");
}

#[tokio::test]
async fn a_failed_ack_comes_only_when_the_service_is_back_and_the_client_has_had_its_time() {
    let mut shop = Shop::opens().await;
    let gate = gate(&shop, "session.ack_grace = \"3s\"").await;
    let client = client(Some(&gate), &shop, json!({})).await;
    shop.service.freeze();
    let ordered = orders(&client, 0, None);
    on_its_way(Some(&gate), &client).await;
    shop.service.kill().await;
    gate.counts(1.0, "tidegate_held_sessions", &[]).await;
    // Longer than the grace.
    sleep(Duration::from_secs(4)).await;
    assert!(!ordered.is_finished(), "the service is not back");
    let back = std::time::Instant::now();
    shop.service.restart().await;
    assert_eq!(ordered.await.unwrap()["error"], "Service restarted");
    assert!(back.elapsed() >= Duration::from_secs(3), "{:?}", back.elapsed());
}

#[tokio::test]
async fn no_ack_is_made_up_where_the_service_does_not_come_back() {
    let mut shop = Shop::opens().await;
    let gate = gate(&shop, "session.hold = \"1s\"").await;
    let client = client(Some(&gate), &shop, json!({ "retries": 3, "ackTimeout": PATIENT })).await;
    shop.service.freeze();
    let ordered = orders(&client, 0, None);
    on_its_way(Some(&gate), &client).await;
    shop.service.kill().await;
    assert_eq!(client.disconnected().await, "transport close");
    assert!(!ordered.is_finished());
    shop.service.restart().await;
    assert_eq!(ordered.await.unwrap(), json!({ "seq": 0 }));
    assert_eq!(shop.stored(), ["ada 0"]);
}

#[tokio::test]
async fn equal_events_of_a_client_that_repeats_nothing_all_arrive() {
    let mut shop = Shop::opens().await;
    let gate = gate(&shop, "").await;
    let client = client(Some(&gate), &shop, json!({})).await;
    shop.service.kill().await;
    gate.counts(1.0, "tidegate_held_sessions", &[]).await;
    let attempts = {
        let client = client.clone();
        tokio::spawn(async move { client.attempts(3, "step", order(7)).await })
    };
    gate.counts(3.0, "tidegate_queue_packets", &[]).await;
    shop.service.restart().await;
    assert_eq!(attempts.await.unwrap(), vec![json!({ "seq": 7 }); 3]);
    assert_eq!(shop.stored(), ["ada 7"; 3]);
}

/// Four orders of a client with `retries`, where two pass in this time: what each becomes, and what is stored.
async fn limited(exceeded: &str, per: &str, ack_timeout: u32) -> (Vec<Value>, Vec<String>) {
    let shop = Shop::opens().await;
    let limit = format!("rate_limit = [{{ messages = 2, per = {per:?}, exceeded = \"{exceeded}\" }}]");
    let gate = Gate::before(&shop.service).with(&limit).await;
    let client = client(Some(&gate), &shop, json!({ "retries": 20, "ackTimeout": ack_timeout })).await;
    let ordered: Vec<_> = (0..4).map(|seq| orders(&client, seq, None)).collect();
    let mut heard = Vec::new();
    for ordered in ordered {
        heard.push(ordered.await.unwrap());
    }
    heard.sort_by_key(|heard| heard["seq"].as_u64().unwrap_or(99));
    let mut stored = shop.stored();
    stored.sort_unstable();
    (heard, stored)
}

#[tokio::test]
async fn a_limit_that_answers_looks_like_an_ack_to_a_client_that_repeats_and_all_others_do_not() {
    // What is dropped is repeated when its time is over; what is delayed must not be.
    for (exceeded, ack_timeout) in [("drop", 8000), ("delay", PATIENT), ("close", PATIENT)] {
        let (heard, stored) = limited(exceeded, "2s", ack_timeout).await;
        assert_eq!(heard, (0..4).map(|seq| json!({ "seq": seq })).collect::<Vec<_>>(), "{exceeded}");
        assert_eq!(stored, ["ada 0", "ada 1", "ada 2", "ada 3"], "{exceeded}");
    }
    let (heard, stored) = limited("reply", "1h", PATIENT).await;
    assert_eq!(heard[3]["rateLimited"], true, "{heard:?}");
    assert!(stored.len() < 4, "{stored:?}");
}
