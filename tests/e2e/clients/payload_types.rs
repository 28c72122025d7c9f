//! What POSTs of polling are said to be, as engine.io takes them.

use std::process::Stdio;

use tokio::process::Command;

use crate::support::{Gate, Poller, Service, soon};

/// The answer to `curl -d`, which sends a form as far as it knows.
async fn curl(poller: &Poller, gate: &Gate, packet: &str) -> String {
    let url = format!("{}{}", gate.url(), poller.target("polling"));
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--data", packet, &url]).stderr(Stdio::inherit()).kill_on_drop(true);
    String::from_utf8(soon("curl ends", command.output()).await.unwrap().stdout).unwrap()
}

#[tokio::test]
async fn a_post_of_curl_is_taken() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let poller = Poller::socketio(gate.address).await;

    assert_eq!(curl(&poller, &gate, "42[\"echo\",\"a=b&c=%41+d\"]").await, "ok");

    assert_eq!(poller.poll().await, "42[\"echo\",\"a=b&c=%41+d\"]", "a payload is no form, whatever it is said to be");
}

#[tokio::test]
async fn every_type_is_text_but_the_binary_one_of_version_3() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).await;
    let echo = "42[\"echo\",\"alive\"]";
    let types = [
        "application/x-www-form-urlencoded",
        "application/x-www-form-urlencoded; charset=UTF-8",
        "Application/Octet-Stream",
        "application/octet-stream; charset=utf-8",
        "multipart/form-data",
        "nonsense",
        "application/octet-stream",
    ];
    let through = Poller::socketio(gate.address).await;
    let mut directly = Poller::socketio(gate.address).await.at(service.address()).with_sid(String::new());
    let opened = directly.get().await;
    let open: crate::support::Value = serde_json::from_str(&opened.text()[1..]).unwrap();
    directly = directly.with_sid(open["sid"].as_str().unwrap().to_owned());
    directly.join("").await;

    for kind in types {
        let of_kind = [("content-type", kind)];
        let [through, directly] = [&through, &directly].map(|poller| poller.with_headers(&of_kind));
        let statuses = [through.post(echo).await.status, directly.post(echo).await.status];
        let expected = if kind == "application/octet-stream" { 400 } else { 200 };
        assert_eq!(statuses, [expected; 2], "{kind}");
        if expected == 200 {
            assert_eq!([through.poll().await, directly.poll().await], [echo; 2], "{kind}");
        }
    }
}
