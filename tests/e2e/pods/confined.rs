//! What the gate may do in its pod, how it takes a new configuration there, and how it ends.

use std::{fs, time::Duration};

use super::{ADMIN, CLIENTS, replica, sidecar};
use crate::support::{Client, Way, client::Driver, eventually, http, json, podman::Pods};

#[tokio::test]
async fn the_gate_runs_as_nobody_with_a_read_only_root_and_no_capability_and_ends_on_sigterm() {
    let Some(pods) = Pods::start().await else { return };
    let manifests = sidecar(&pods, &json!({}));
    let pod = replica(&pods, &manifests, "a").await;

    let pid = pods.inspect(&pod, "tidegate", "{{.State.Pid}}").await;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t")).unwrap();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!((field("Uid"), field("Gid")), (vec!["65532".to_owned(); 4], vec!["65532".to_owned(); 4]));
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(set), ["0000000000000000"], "{set}");
    }
    assert_eq!((field("NoNewPrivs"), field("Seccomp")), (vec!["1".to_owned()], vec!["2".to_owned()]));
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    let root = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find(|fields| fields[4] == "/").unwrap();
    assert!(root[5].split(',').any(|option| option == "ro"), "{root:?}");

    // As the notes of the chart say.
    let command = ["/tidegate", "token", "/etc/tidegate/config/tidegate.toml", "--sub", "ada", "--ttl", "1h"];
    let token = pods.exec(&pod, "tidegate", &command).await.unwrap();
    let url = format!("http://{}", pod.address(CLIENTS));
    let client = Client::begin(Driver::start(), &url, json!({ "token": token.trim() }), Way::Upgrade.options()).await;
    client.connected().await;
    assert_eq!(client.ask("echo", json!([1])).await, 1);

    let code = pods.stop(&pod, "tidegate", Duration::from_secs(20)).await;
    assert_eq!(code, 0, "{}", pods.logs(&pod, "tidegate").await);
}

#[tokio::test]
async fn a_changed_config_map_takes_effect_in_the_running_pod() {
    let Some(pods) = Pods::start().await else { return };
    let manifests = sidecar(&pods, &json!({}));
    let pod = replica(&pods, &manifests, "a").await;
    let status = async |origin: &str| {
        let url = format!("http://{}/socket.io/?EIO=4&transport=polling", pod.address(CLIENTS));
        http::request("GET", &url, &[("origin", origin)], "").await.status
    };
    let (before, later) = ("https://before.example", "https://later.example");
    assert_eq!((status(before).await, status(later).await), (403, 403));

    let toml = format!("[origins]\nallow = [\"self\", {later:?}]\n");
    pod.update("tidegate-config", &[("tidegate.toml".to_owned(), toml.into_bytes())]);

    eventually("the new configuration is in force", async || (status(later).await == 200).then_some(())).await;
    assert_eq!(status(before).await, 403);
    assert_eq!(http::get(&format!("http://{}/livez", pod.address(ADMIN))).await.status, 200);
}
