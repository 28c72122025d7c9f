//! A key server on loopback that says what it is told to, and what becomes of tokens meanwhile.

use std::{
    future::Future,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, encode, jwk::Jwk};
use rcgen::KeyPair;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::{AbortHandle, JoinHandle},
};

use super::*;
use crate::policy::{
    auth::{Auth, AuthError, AuthTable, Credential, INVALID, KEYS_UNAVAILABLE},
    token_source::{Token, TokenSources},
};

const FAST: FetchIntervals = FetchIntervals {
    refresh: Duration::from_hours(1),
    rest: Duration::from_millis(300),
    retry_first: Duration::from_millis(20),
    retry_max: Duration::from_millis(40),
    stale_after: Duration::from_hours(24),
};

/// What the server answers, the bytes of a whole response; it can be changed at any time.
struct Issuer {
    url: String,
    answer: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
    server: AbortHandle,
}

impl Issuer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks", listener.local_addr().unwrap());
        let (answer, asked) = (Arc::new(Mutex::new(String::new())), Arc::new(AtomicUsize::new(0)));
        let (says, counts) = (Arc::clone(&answer), Arc::clone(&asked));
        let server: JoinHandle<()> = tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut head = [0; 4096];
                let _ = socket.read(&mut head).await;
                counts.fetch_add(1, Relaxed);
                let bytes = says.lock().unwrap().clone();
                let _ = socket.write_all(bytes.as_bytes()).await;
            }
        });
        Self { url, answer, asked, server: server.abort_handle() }
    }

    fn says(&self, head: &str, body: &str) {
        let length = body.len();
        *self.answer.lock().unwrap() = format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\n\r\n{body}");
    }

    fn publishes(&self, keys: &[&IssuerKey]) {
        let keys: Vec<_> = keys.iter().map(|key| &key.jwk).collect();
        self.says("200 OK", &json!({ "keys": keys }).to_string());
    }

    fn asked(&self) -> usize {
        self.asked.load(Relaxed)
    }
}

struct IssuerKey {
    kid: &'static str,
    jwk: Value,
    private: EncodingKey,
}

impl IssuerKey {
    fn new(kid: &'static str) -> Self {
        let pair = KeyPair::generate().unwrap();
        let public = DecodingKey::from_ec_pem(pair.public_key_pem().as_bytes()).unwrap();
        let mut jwk = serde_json::to_value(Jwk::from_decoding_key(&public, None).unwrap()).unwrap();
        jwk["kid"] = json!(kid);
        Self { kid, jwk, private: EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap() }
    }

    fn token(&self) -> Token {
        let header = Header { kid: Some(self.kid.to_owned()), ..Header::new(Algorithm::ES256) };
        let text = encode(&header, &json!({ "sub": "ada", "exp": 4_000_000_000_u64 }), &self.private).unwrap();
        let request = http::Request::get(format!("/?token={text}")).body(()).unwrap().into_parts().0;
        TokenSources::compile(&["query:token".to_owned()]).unwrap().from_request(&request).unwrap().unwrap()
    }
}

/// Verifiers and a running fetcher of their keys, which ends with them.
struct Node {
    auth: Auth,
    keys: Arc<SharedKeys>,
    /// Whether there were keys when the last fetch was told.
    told: Arc<AtomicBool>,
    fetcher: AbortHandle,
}

impl Node {
    fn start(url: &str, intervals: FetchIntervals) -> Self {
        let server = KeyServer { intervals, ..KeyServer::new(url, Arc::new(Gauges::new())).unwrap() };
        let table =
            AuthTable { jwks_url: Some(url.to_owned()), algorithms: vec!["ES256".to_owned()], ..AuthTable::default() };
        let keys = server.keys();
        let auth = Auth::compile(&table, &keys).unwrap();
        let told = Arc::new(AtomicBool::new(false));
        let tell = {
            let (told, keys) = (Arc::clone(&told), Arc::clone(&keys));
            move || told.store(keys.ready(), Relaxed)
        };
        Self { auth, keys, told, fetcher: tokio::spawn(server.run(tell)).abort_handle() }
    }

    fn outcome(&self, key: &IssuerKey) -> Result<(), AuthError> {
        self.auth.identify(Credential::Token(Some(&key.token())), None, SystemTime::now()).map(drop)
    }

    /// As a handshake does: asks again while the keys are pending.
    async fn settled(&self, key: &IssuerKey) -> Result<(), AuthError> {
        within(async {
            loop {
                match self.outcome(key) {
                    Err(AuthError::KeysPending) => tokio::time::sleep(Duration::from_millis(5)).await,
                    settled => return settled,
                }
            }
        })
        .await
    }

    async fn ready(&self) {
        within(async {
            while !self.keys.ready() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    /// Waits until it is told that there are keys, or that there are none.
    async fn told(&self, ready: bool) {
        within(async {
            while self.told.load(Relaxed) != ready {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.fetcher.abort();
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(40), future).await.expect("it takes too long")
}

const REFUSED: Result<(), AuthError> = Err(AuthError::Refused(INVALID));
const UNAVAILABLE: Result<(), AuthError> = Err(AuthError::Refused(KEYS_UNAVAILABLE));

#[tokio::test]
async fn tokens_wait_for_the_first_set() {
    let (issuer, key) = (Issuer::start().await, IssuerKey::new("a"));
    issuer.publishes(&[&key]);
    let node = Node::start(&issuer.url, INTERVALS);
    assert_eq!(node.outcome(&key), Err(AuthError::KeysPending));
    assert_eq!(node.settled(&key).await, Ok(()));
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn a_new_key_is_fetched_when_the_first_token_of_it_comes() {
    let (issuer, old, new) = (Issuer::start().await, IssuerKey::new("old"), IssuerKey::new("new"));
    issuer.publishes(&[&old]);
    let node = Node::start(&issuer.url, FAST);
    assert_eq!(node.settled(&old).await, Ok(()));
    issuer.publishes(&[&new]);
    assert_eq!(node.outcome(&old), Ok(()));
    assert_eq!(node.settled(&new).await, Ok(()));
    assert_eq!(issuer.asked(), 2);
    assert_eq!(node.settled(&old).await, REFUSED, "the old key is withdrawn");
}

#[tokio::test]
async fn keys_that_are_fetched_before_they_are_used_are_not_fetched_again() {
    let (issuer, key) = (Issuer::start().await, IssuerKey::new("a"));
    issuer.says("404 Not Found", "");
    let gauges = Arc::new(Gauges::new());
    let url = format!("{}?secret=x", issuer.url);
    let mut server = KeyServer::new(&url, Arc::clone(&gauges)).unwrap();
    let fault = server.fetch_first().await.unwrap_err();
    assert_eq!(
        fault.to_string(),
        format!("auth.jwks_url is {}, which gives no key set: the server answered 404 Not Found, not 200", issuer.url)
    );
    assert!(!server.keys().ready());

    issuer.publishes(&[&key]);
    server.fetch_first().await.unwrap();
    assert!(server.keys().ready());
    assert_eq!(gauges.jwks(), None, "the figures are those of the server in force");
    let told = Arc::new(Notify::new());
    let tells = Arc::clone(&told);
    let fetcher = tokio::spawn(server.run(move || tells.notify_one()));
    // Those who have waited for keys of the server before.
    within(told.notified()).await;
    assert!(gauges.jwks().is_some_and(|(last_success, _)| last_success > 0));
    assert_eq!(issuer.asked(), 2);
    fetcher.abort();
}

#[tokio::test]
async fn made_up_keys_do_not_make_it_fetch_more_often() {
    let (issuer, known, made_up) = (Issuer::start().await, IssuerKey::new("known"), IssuerKey::new("made up"));
    issuer.publishes(&[&known]);
    let node = Node::start(&issuer.url, FAST);
    node.ready().await;
    let began = std::time::Instant::now();
    for _ in 0..100 {
        assert_eq!(node.settled(&made_up).await, REFUSED);
    }
    let asked = issuer.asked();
    let rests = began.elapsed().div_duration_f64(FAST.rest) as usize;
    assert!((2..=2 + rests).contains(&asked), "{asked} within {rests} rests");
    tokio::time::sleep(FAST.rest * 2).await;
    assert_eq!(node.settled(&made_up).await, REFUSED);
    assert_eq!(issuer.asked(), asked + 1);
}

#[tokio::test]
async fn without_a_key_set_no_token_is_called_invalid() {
    let (issuer, key) = (Issuer::start().await, IssuerKey::new("a"));
    issuer.says("500 Internal Server Error", "");
    let node = Node::start(&issuer.url, FAST);
    assert_eq!(node.settled(&key).await, UNAVAILABLE);
    issuer.publishes(&[&key]);
    node.ready().await;
    assert_eq!(node.outcome(&key), Ok(()));
}

#[tokio::test]
async fn the_last_good_set_stays_through_every_kind_of_bad_answer() {
    let (issuer, key, new) = (Issuer::start().await, IssuerKey::new("a"), IssuerKey::new("new"));
    issuer.publishes(&[&key]);
    let node = Node::start(&issuer.url, FetchIntervals { refresh: Duration::from_millis(20), ..FAST });
    node.ready().await;
    let elsewhere = Issuer::start().await;
    elsewhere.publishes(&[&new]);
    let too_long = " ".repeat(256 * 1024) + &json!({ "keys": [new.jwk] }).to_string();
    for (head, body) in [
        ("500 Internal Server Error", String::new()),
        ("404 Not Found", json!({ "keys": [new.jwk] }).to_string()),
        (&*format!("302 Found\r\nlocation: {}", elsewhere.url), String::new()),
        ("200 OK", r#"{"keys":[]}"#.to_owned()),
        ("200 OK", r#"{"keys":[{"kty":"oct","k":"AA"}]}"#.to_owned()),
        ("200 OK", "<html>".to_owned()),
        ("200 OK", too_long),
        ("nonsense", String::new()),
    ] {
        issuer.says(head, &body);
        let before = issuer.asked();
        within(async {
            while issuer.asked() < before + 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        assert_eq!(node.outcome(&key), Ok(()), "{head}");
        assert_ne!(node.outcome(&new), Ok(()), "{head}");
    }
    assert_eq!(elsewhere.asked(), 0, "redirects are not followed");
}

#[tokio::test]
async fn a_set_that_is_too_old_is_no_longer_believed() {
    let (issuer, key) = (Issuer::start().await, IssuerKey::new("a"));
    issuer.publishes(&[&key]);
    let stale_after = Duration::from_millis(200);
    let node = Node::start(&issuer.url, FetchIntervals { refresh: Duration::from_millis(20), stale_after, ..FAST });
    node.told(true).await;
    issuer.says("500 Internal Server Error", "");
    node.told(false).await;
    assert_eq!(node.outcome(&key), UNAVAILABLE);
    issuer.publishes(&[&key]);
    // The set is good for a moment alone, which a busy machine may miss.
    within(async {
        while node.outcome(&key) != Ok(()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[test]
fn an_address_where_others_can_write_is_refused() {
    let made = KeyServer::new("http://issuer.test/jwks", Arc::new(Gauges::new()));
    assert_eq!(made.unwrap_err().key, "auth.jwks_url");
}

#[test]
fn a_set_is_old_by_whichever_clock_comes_first() {
    const DAY: Duration = Duration::from_hours(24);
    let good = Moment::now();
    let stale = good.after(DAY);
    let asleep = Moment { instant: good.instant + DAY / 24, wall: good.wall + DAY };
    let set_back = Moment { instant: good.instant + DAY, wall: good.wall - DAY };
    assert!(stale.has_come(asleep) && stale.has_come(set_back) && !stale.has_come(good.after(DAY / 2)));
}
