//! Clients whose messages wait for an `exceeded = "delay"` rule.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{
    net::TcpListener,
    sync::mpsc,
    task::{LocalSet, spawn_local},
};

use super::world::{Client, Settings, Way, arrive, serve, worker_obeying};
use crate::{
    policy::rate_limit::{Exceeded, RateLimitTable},
    relay::worker::{SharedState, Worker},
    units::Period,
};

/// Nothing takes so long.
const PATIENCE: Duration = Duration::from_secs(40);

/// Between two pings: long enough for a client to join and be delayed.
const PING: Duration = Duration::from_secs(1);

/// For the answer to one: long enough for a client that is kept waiting by a busy machine.
const PONG: Duration = Duration::from_secs(3);

async fn until(mut is_so: impl FnMut() -> bool) {
    let waits = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waits).await.expect("it never comes to that");
}

/// One that has said two events, of which the second waits for longer than the test.
async fn delayed(worker: &Rc<Worker>) -> Rc<Client> {
    let (client, _) = arrive(worker, Way::Polling(1));
    client.post(&["40".into()]).await.unwrap();
    until(|| !client.got.borrow().is_empty()).await;
    spawn_local({
        let client = Rc::clone(&client);
        async move { client.post(&[r#"42["a"]"#.into(), r#"42["b"]"#.into()]).await }
    });
    client
}

#[tokio::test]
async fn a_client_that_stops_polling_while_its_messages_are_delayed_is_gone_and_one_that_polls_is_not() {
    let play = async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let per = Period(PATIENCE * 10);
        let limit = RateLimitTable { messages: 1, per, exceeded: Exceeded::Delay, ..RateLimitTable::default() };
        let settings = Settings { limit, ping_interval: PING, ping_timeout: PONG, ..Settings::default() };
        let worker = worker_obeying(listener.local_addr().unwrap(), settings, &SharedState::default());
        spawn_local(serve(listener, Vec::new(), mpsc::unbounded_channel().0));
        spawn_local({
            let worker = Rc::clone(&worker);
            async move { worker.sweep(Instant::now(), Duration::from_millis(20)).await }
        });
        let (polls, stops) = (delayed(&worker).await, delayed(&worker).await);
        stops.goes_over.set(true);

        until(|| worker.len() < 2).await;
        let pings = || polls.got.borrow().iter().filter(|message| **message == "2".into()).count();
        let before = pings();
        until(|| polls.ended.get() || pings() > before + 1).await;
        assert!(!polls.ended.get() && worker.len() == 1, "nothing is read of it, and it is there");
    };
    LocalSet::new().run_until(play).await;
}

#[tokio::test]
async fn what_is_delayed_is_judged_by_the_rules_of_a_reload() {
    let play = async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let service = listener.local_addr().unwrap();
        let obeying = |messages| {
            let per = Period(PATIENCE * 10);
            let limit = RateLimitTable { messages, per, exceeded: Exceeded::Delay, ..RateLimitTable::default() };
            let settings = Settings { limit, ping_interval: PING, ping_timeout: PING, ..Settings::default() };
            worker_obeying(service, settings, &SharedState::default())
        };
        let (worker, (heard, mut hears)) = (obeying(1), mpsc::unbounded_channel());
        spawn_local(serve(listener, Vec::new(), heard));
        spawn_local({
            let worker = Rc::clone(&worker);
            async move { worker.sweep(Instant::now(), Duration::from_millis(20)).await }
        });
        let client = delayed(&worker).await;
        let mut comes = async |wanted: &str| while hears.recv().await.unwrap() != wanted.into() {};
        comes(r#"42["a"]"#).await;

        worker.adopt(obeying(2).rules());
        let comes = comes(r#"42["b"]"#);
        tokio::time::timeout(PATIENCE, comes).await.expect("it waits as long as the rule before wanted");
        assert!(!client.ended.get());
    };
    LocalSet::new().run_until(play).await;
}
