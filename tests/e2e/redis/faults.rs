//! Redis is absent, restarts, stands still, refuses.

use std::fs;

use super::{connects, gap, gate, is_back, is_down, is_up, readiness};
use crate::support::{Gate, Redis, eventually, http};

#[tokio::test]
async fn a_redis_that_is_absent_at_the_start_is_waited_for_and_found() {
    let mut redis = Redis::start().await;
    redis.kill().await;
    let gate = gate(&redis.url()).await;
    let line = gate.log().wait(&["WARN", "is unreachable", "nothing listens there"]).await;
    assert!(line.contains(&redis.port().to_string()), "{line}");
    is_down(&gate).await;
    let (condition, ready) = readiness(&gate).await;
    assert!(ready, "a node without Redis serves its clients");
    assert_eq!((&condition["ok"], &condition["required"]), (&false.into(), &false.into()));
    assert!(condition["why"].as_str().unwrap().contains("does Redis run"), "{condition}");
    redis.restart().await;
    is_up(&gate).await;
    gate.log().wait(&["INFO", "is there", "events of other nodes come"]).await;
    let (condition, _) = readiness(&gate).await;
    assert_eq!(condition["ok"], true);
    let listing = http::get(&gate.admin_url("/sessions")).await.json();
    assert_eq!(listing["redis"]["ok"], true, "{listing}");
}

#[tokio::test]
async fn a_node_that_requires_redis_is_ready_only_while_it_is_there() {
    let mut redis = Redis::start().await;
    let gate = gate(&redis.url()).with("redis.required = true").await;
    assert!(readiness(&gate).await.1);
    redis.kill().await;
    eventually("the node is not ready", async || (!readiness(&gate).await.1).then_some(())).await;
    redis.restart().await;
    eventually("the node is ready again", async || readiness(&gate).await.1.then_some(())).await;
}

#[tokio::test]
async fn a_redis_that_restarts_is_found_again_and_the_gap_is_told() {
    let mut redis = Redis::start().await;
    let gate = gate(&redis.url()).await;
    is_up(&gate).await;
    let before = gap(&gate).await;
    redis.kill().await;
    is_down(&gate).await;
    gate.log().wait(&["WARN", "is unreachable", "clients stay connected"]).await;
    redis.restart().await;
    is_up(&gate).await;
    let after = gap(&gate).await;
    assert!(after > before, "{before} s before, {after} s after");
    assert_eq!(gap(&gate).await, after, "it grows no more");
}

#[tokio::test]
async fn a_redis_that_stands_still_is_given_up_and_found_again() {
    let redis = Redis::start().await;
    let gate = gate(&redis.url()).await;
    is_up(&gate).await;
    let before = connects(&gate).await;
    redis.freeze();
    is_down(&gate).await;
    gate.log().wait(&["WARN", "is unreachable", "does not answer in time"]).await;
    redis.thaw();
    is_back(&gate, before).await;
}

#[tokio::test]
async fn a_connection_that_an_operator_kills_is_made_again() {
    let redis = Redis::start().await;
    let gate = gate(&redis.url()).await;
    is_up(&gate).await;
    assert!(redis.cli(&["CLIENT", "LIST"]).await.contains("name=tidegate:"));
    let before = connects(&gate).await;
    assert!(redis.kill_clients().await >= 1);
    is_back(&gate, before).await;
}

#[tokio::test]
async fn a_subscriber_that_is_cut_for_being_slow_comes_back() {
    let redis = Redis::setup().args(&["--client-output-buffer-limit", "pubsub 64kb 0 0"]).start().await;
    let gate = gate(&redis.url()).await;
    is_up(&gate).await;
    let before = connects(&gate).await;
    gate.signal("STOP");
    let flood = "for i = 1, 400 do redis.call('publish', 'socket.io#/#', string.rep('x', 100000)) end";
    redis.cli(&["EVAL", flood, "0"]).await;
    gate.signal("CONT");
    is_back(&gate, before).await;
}

#[tokio::test]
async fn a_wrong_password_is_told_without_it_and_a_right_one_is_read_without_a_restart() {
    let redis = Redis::setup().password("correct-horse").start().await;
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("password");
    fs::write(&file, "battery-staple\n").unwrap();
    let gate = gate(&redis.url()).with(&format!("redis.password = {{ file = {file:?} }}")).await;
    gate.log().wait(&["WARN", "does not accept redis.username and redis.password"]).await;
    is_down(&gate).await;
    fs::write(&file, "correct-horse\n").unwrap();
    is_up(&gate).await;
    let log = gate.logged().await;
    assert!(log.containing("battery-staple").is_empty() && log.containing("correct-horse").is_empty());
}

#[tokio::test]
async fn a_url_that_is_a_secret_is_never_told_and_another_password_in_it_is_taken_without_a_restart() {
    let redis = Redis::setup().acl("gate", "correct-horse", "+@all ~* &*").start().await;
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("url");
    let with = |password: &str| redis.url().replace("://", &format!("://gate:{password}@"));
    fs::write(&file, with("battery-staple")).unwrap();
    let gate = Gate::before_url("http://127.0.0.1:9")
        .with(&format!("redis.url_from = {{ file = {file:?} }}\ncluster.name = \"app\""))
        .await;
    gate.log().wait(&["WARN", "does not accept user and password of redis.url_from"]).await;
    is_down(&gate).await;
    fs::write(&file, with("correct-horse")).unwrap();
    is_up(&gate).await;
    let log = gate.logged().await;
    assert!(log.containing("battery-staple").is_empty() && log.containing("correct-horse").is_empty());
}

#[tokio::test]
async fn a_missing_password_is_told_as_one() {
    let redis = Redis::setup().password("correct-horse").start().await;
    let gate = gate(&redis.url()).await;
    gate.log().wait(&["WARN", "does not accept redis.username and redis.password"]).await;
}

#[tokio::test]
async fn a_user_without_the_right_to_subscribe_is_told_and_gets_it_without_a_restart() {
    let redis = Redis::setup().acl("gate", "secret", "+@all ~* resetchannels").start().await;
    let keys = "redis.username = \"gate\"\nredis.password = { env = \"REDIS_PASSWORD\" }";
    let gate = gate(&redis.url()).with(keys).variable("REDIS_PASSWORD", "secret").await;
    gate.log().wait(&["WARN", "refuses a subscription", "NOPERM"]).await;
    is_down(&gate).await;
    assert_eq!(redis.cli(&["ACL", "SETUSER", "gate", "allchannels"]).await, "OK");
    is_up(&gate).await;
}

#[tokio::test]
async fn a_user_without_the_right_to_publish_hears_others_and_is_told() {
    let redis = Redis::setup().acl("gate", "secret", "+@all -publish ~* &*").start().await;
    let keys = "redis.username = \"gate\"\nredis.password = { env = \"REDIS_PASSWORD\" }";
    let gate = gate(&redis.url()).with(keys).variable("REDIS_PASSWORD", "secret").await;
    gate.log().wait(&["WARN", "refuses to publish", "NOPERM"]).await;
    is_up(&gate).await;
}

/// `REDIS_HOST`, `REDIS_PORT` and `REDIS_PASSWORD` of a deployment, as the gate takes them.
#[tokio::test]
async fn host_port_and_password_come_from_the_environment() {
    let redis = Redis::setup().password("correct-horse").start().await;
    let gate = Gate::before_url("http://127.0.0.1:9")
        .variable("TIDEGATE__REDIS__URL", &redis.url())
        .variable("TIDEGATE__REDIS__PASSWORD", "{ env = \"REDIS_PASSWORD\" }")
        .variable("REDIS_PASSWORD", "correct-horse")
        .await;
    is_up(&gate).await;
}

#[tokio::test]
async fn a_check_of_the_configuration_asks_no_redis() {
    let mut redis = Redis::start().await;
    redis.kill().await;
    let outcome = gate(&redis.url()).cli(&["check", "FILE"]).await;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let outcome = gate("redis://user:hunter2@redis:6379").cli(&["check", "FILE"]).await;
    assert_ne!(outcome.code, Some(0));
    assert!(outcome.stderr.contains("redis.url has a user or a password in it"), "{outcome:?}");
}
