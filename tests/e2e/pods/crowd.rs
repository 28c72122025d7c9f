//! Stock clients over several pods, and what became of the events that they sent.

use std::{collections::BTreeSet, sync::Arc};

use crate::support::{
    Value,
    client::Driver,
    eventually, json,
    podman::{Pods, kubelet::Pod},
    token,
};

/// Clients of `tests/upstream/pods_clients.mjs`.
pub(super) struct Crowd {
    driver: Arc<Driver>,
    /// So many of them emit; the others listen.
    busy: usize,
}

impl Crowd {
    /// So many clients of each of these users, each with an address on loopback of its own.
    pub(super) async fn gather(url: &str, users: &[&str], each: usize) -> Self {
        Self::trusting(None, url, users, each).await
    }

    /// As `gather`; over TLS they believe in this authority.
    pub(super) async fn trusting(authority: Option<&str>, url: &str, users: &[&str], each: usize) -> Self {
        let driver = Driver::of("pods_clients.mjs").await;
        let local = ["//127.0.0.1:", "//localhost:"].iter().any(|host| url.contains(host));
        let one = |number: usize| {
            let user = users[number % users.len()];
            let from = local.then(|| format!("127.0.{}.{}", 1 + number / 250, 1 + number % 250));
            json!({ "user": user, "token": token(user), "from": from })
        };
        let users: Value = (0..users.len() * each).map(one).collect();
        driver.call("gather", json!({ "url": url, "ca": authority, "users": users })).await.unwrap();
        Self { driver, busy: 0 }
    }

    /// So many of them emit so many numbered events a second each from now on.
    pub(super) async fn steady(&mut self, busy: usize, rate: u32) {
        self.busy = busy;
        self.driver.call("steady", json!({ "busy": busy, "rate": rate })).await.unwrap();
        self.goes_on().await;
    }

    /// Waits until every client that emits has got more acks.
    pub(super) async fn goes_on(&self) {
        const MORE: usize = 5;
        let acked = async || {
            let states = self.states().await;
            states[..self.busy].iter().map(|one| numbers(&one["acked"]).len()).collect::<Vec<_>>()
        };
        let before = acked().await;
        eventually("every client gets acks", async || {
            let now = acked().await;
            now.iter().zip(&before).all(|(now, before)| *now >= before + MORE).then_some(())
        })
        .await;
    }

    /// Does `op` of `pods_clients.mjs`.
    pub(super) async fn call(&self, op: &str, with: Value) -> Value {
        self.driver.call(op, with).await.unwrap()
    }

    /// No event more; what became of each client.
    pub(super) async fn end(&self) -> Vec<Value> {
        self.driver.call("end", json!({})).await.unwrap();
        self.states().await
    }

    pub(super) async fn states(&self) -> Vec<Value> {
        self.driver.call("state", json!({})).await.unwrap().as_array().unwrap().clone()
    }
}

/// What was acknowledged to these clients is in the journals of the services in these pods; how many events that were.
pub(super) async fn acknowledged(pods: &Pods, services: &[(&Pod, &str)], clients: &[Value]) -> usize {
    let mut journal = BTreeSet::new();
    for (pod, container) in services {
        for line in pods.logs(pod, container).await.lines().filter(|line| !line.starts_with('{')) {
            let (client, seq) = line.split_once(' ').unwrap_or_else(|| panic!("{line:?}"));
            journal.insert((client.parse::<u64>().unwrap(), seq.parse::<u64>().unwrap()));
        }
    }
    let mut all = 0;
    for client in clients {
        let number = client["number"].as_u64().unwrap();
        let acked = numbers(&client["acked"]);
        let lost: Vec<_> = acked.iter().filter(|seq| !journal.contains(&(number, **seq))).collect();
        assert!(lost.is_empty(), "client {number} has an ack for {lost:?}, of which no service knows");
        all += acked.len();
    }
    all
}

fn numbers(array: &Value) -> Vec<u64> {
    array.as_array().unwrap().iter().map(|number| number.as_u64().unwrap()).collect()
}
