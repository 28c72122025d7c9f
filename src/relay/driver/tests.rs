//! One session beside another on the same thread.

use std::{io, time::SystemTime};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf},
    task::LocalSet,
};

use super::*;
use crate::{
    config::Config,
    event_names::EventNames,
    observe::tally::Tally,
    policy::{
        identity::Identity,
        policies::{Policies, PolicyTables},
    },
    relay::{
        dial::Dialler,
        inflow::Inflow,
        leg::websocket::WebSocketLeg,
        registry::Registry,
        stream::{ClientIo, ClientStream},
        worker::Returns,
    },
    session::{Terms, hold::HoldTerms, plain::Plain},
    wire::websocket::frame::Sender,
};

/// A defect of ours, arranged: it panics as soon as it is read.
struct Defect;

impl AsyncRead for Defect {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        panic!("a defect, arranged by a test")
    }
}

impl AsyncWrite for Defect {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl ClientIo for Defect {
    fn settle(self: Box<Self>) -> io::Result<ClientStream> {
        Ok(self)
    }
}

impl ClientIo for DuplexStream {
    fn settle(self: Box<Self>) -> io::Result<ClientStream> {
        Ok(self)
    }
}

fn worker() -> Rc<Worker> {
    let config = Config::default();
    let tables = PolicyTables {
        auth: &crate::policy::auth::AuthTable { required: false, ..config.auth },
        origins: &config.origins,
        namespaces: &config.socketio.namespaces,
        rate_limit: &config.rate_limit,
    };
    let policies = Policies::compile(&tables, &Arc::default(), 1).unwrap();
    let terms = Terms {
        ping_interval: Duration::from_secs(25),
        ping_timeout: Duration::from_secs(20),
        connect_timeout: Duration::from_secs(45),
        idle_timeout: None,
        hold: HoldTerms::compile(&config.session).unwrap(),
    };
    let names = Arc::new(EventNames::new(10, []));
    let dialler = Dialler::compile(&config.upstream, None).unwrap();
    let rules = Rules { policies, terms, dialler, send_buffer: 1_000_000, queue_total: 1_000_000, same_address: false };
    Worker::new(Registry::default(), 0, &Returns::default(), Arc::new(rules), Tally::new(&[1]), names)
}

fn open(worker: &Rc<Worker>, client: impl ClientIo + 'static) {
    let (rules, now) = (worker.rules(), Instant::now());
    let peer = [127, 0, 0, 1].into();
    let identity = Identity::anonymous();
    let session = Session::plain(
        peer,
        Plain::new(Arc::default(), None),
        identity,
        &rules.policies,
        &rules.terms,
        SystemTime::now(),
        now,
    );
    let leg = WebSocketLeg::new(Box::new(client) as _, Sender::Service, Inflow::new(Sender::Client, 1000, false), &[]);
    let upstream = UpstreamLeg::Away;
    worker.spawn(session, ClientLeg::Websocket(leg), None, now, |cell, client| {
        Driver::new(Rc::clone(worker), cell, client, upstream, None, None)
    });
}

#[tokio::test]
async fn a_panic_in_one_session_touches_no_other() {
    LocalSet::new()
        .run_until(async {
            let worker = worker();
            let (near, mut far) = tokio::io::duplex(1024);
            open(&worker, near);
            open(&worker, Defect);
            assert_eq!(worker.len(), 2);
            // A masked ping with an empty payload, and its answer.
            for _ in 0..3 {
                far.write_all(&[0x89, 0x80, 1, 2, 3, 4]).await.unwrap();
                let mut pong = [0; 2];
                far.read_exact(&mut pong).await.unwrap();
                assert_eq!(pong, [0x8a, 0x00]);
                tokio::task::yield_now().await;
            }
            let ids: Vec<u64> = worker.list(0, 10).iter().map(|session| session.id).collect();
            assert_eq!(ids.len(), 1, "the one with the defect is gone, the other is not");
        })
        .await;
}

#[test]
fn an_idle_session_is_small() {
    assert!(size_of::<Driver>() <= 700, "{}", size_of::<Driver>());
    assert!(size_of::<Session>() <= 720, "{}", size_of::<Session>());
}
