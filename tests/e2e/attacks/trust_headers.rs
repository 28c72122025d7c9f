//! Headers by which proxies tell who a client is, written by the client itself.

use crate::support::{
    Gate, Pki, Plain, Poller, Service, Value, eventually, http, json, pki::SecretFolder, tls::TlsClient, token,
};

/// What a client claims to be.
const FORGED: &str = "203.0.113.7";
/// Spellings that a service may read as a header that proxies write.
const NAMES: [&str; 14] = [
    "x-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "CF_Connecting_IP",
    "cf-connecting-ipv6",
    "fastly-client-ip",
    "x-cluster-client-ip",
    "x_client_ip",
    "x-original-forwarded-for",
    "x-envoy-external-address",
    "x-real-ip",
    "forwarded",
    "x-forwarded-for",
    "x_forwarded_for",
];

fn forged() -> Vec<(&'static str, &'static str)> {
    NAMES.map(|name| (name, FORGED)).into()
}

/// Which of the headers that the service has seen repeat the claim.
fn believed(headers: &Value) -> Vec<&String> {
    let headers = headers.as_object().unwrap().iter();
    headers
        .filter(|(_, value)| value.as_str().is_some_and(|value| value.contains(FORGED)))
        .map(|(name, _)| name)
        .collect()
}

async fn upgraded(service: &Service) -> Value {
    let upgrade = eventually("the service is dialled", async || {
        Some(service.seen().await["upgrades"][0]["headers"].clone()).filter(Value::is_object)
    })
    .await;
    service.forget().await;
    upgrade
}

#[tokio::test]
async fn what_a_client_says_of_itself_reaches_the_service_on_no_way() {
    let (pki, service) = (Pki::new(), Service::start().await);
    let folder = SecretFolder::of(&pki.localhost(1));
    let gate = Gate::before(&service).with("[[websocket]]\npath = \"/ws\"").await;
    let over_tls = Gate::before(&service).over_tls(&pki, &folder).await;
    let seen = |headers: &Value| assert_eq!(believed(headers), Vec::<&String>::new(), "{headers}");

    let forwarded = http::request("GET", &format!("{}/headers", gate.url()), &forged(), "").await;
    seen(&forwarded.json()["headers"]);
    let over_http2 = TlsClient::new(&pki).http2(over_tls.address).await.request("GET", "/headers", &forged(), "").await;
    seen(&over_http2.unwrap().json()["headers"]);

    let poller = Poller::shaking_hands(gate.address, "", &forged()).await;
    poller.join(&json!({ "token": token("ada") }).to_string()).await;
    seen(&upgraded(&service).await);
    let headers: String = forged().iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let mut raw = crate::support::Raw::upgraded(gate.address, "/socket.io/?EIO=4&transport=websocket", &headers).await;
    raw.frame().await;
    raw.say(&format!("40{{\"token\":\"{}\"}}", token("ada"))).await;
    seen(&upgraded(&service).await);

    // A way to have one removed that the gate sets is refused.
    let nominated = [("connection", "cf-connecting-ip")];
    let refused = http::request("GET", &format!("{}/headers", gate.url()), &nominated, "").await;
    assert_eq!(refused.status, 400);

    // The control: without the gate the service sees what the client says.
    let direct = http::request("GET", &format!("{}/headers", service.url()), &forged(), "").await;
    assert_eq!(believed(&direct.json()["headers"]).len(), NAMES.len());
}

#[tokio::test]
async fn on_a_plain_route_neither_and_the_list_is_the_operators() {
    let service = Service::plain().await;
    let list = "listen.trust_headers = [\"x-mine\"]\nauth.required = false\n[[websocket]]\npath = \"/ws\"";
    let gate = Gate::before(&service).with(list).await;
    let headers = [("x-mine", FORGED), ("X_Mine", FORGED), ("x-real-ip", FORGED), ("true-client-ip", FORGED)];
    let _client = Plain::connect(gate.address, "/ws", &headers).await.unwrap();
    let seen = upgraded(&service).await;
    assert_eq!(believed(&seen), ["true-client-ip"], "it is not in the list");

    let told = Gate::before(&service).with("listen.trust_headers = [\"a b\"]").fails().await;
    assert!(told.stderr.contains("listen.trust_headers") && told.stderr.contains("a b"), "{}", told.stderr);
}
