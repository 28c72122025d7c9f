//! One session beside another on the same thread.

use std::{
    io,
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf},
    task::LocalSet,
};

use super::*;
use crate::{
    event_names::EventNames,
    observe::Exposition,
    policy::identity::{Details, Identity},
    relay::{
        client_leg::ClientLeg,
        inflow::Inflow,
        leg::{polling::PollingLeg, websocket::WebSocketLeg},
        registry::Target,
        request::{Attachment, Transfer},
        service_leg::ServiceLeg,
        stream::{ClientIo, ClientStream, Sending, ServiceStream},
        tests::world::{beginning, worker},
    },
    session::{
        plain::{OnUpstreamLoss, PlainRules},
        question::{Claim, Returning},
    },
    wire::websocket::frame::Sender,
};

/// What waits without a packet is in these two allocations, and in that of the connection to the service.
#[test]
fn a_session_that_waits_is_small() {
    // What tokio adds to a task: the header with state and queue (32), scheduler, number and stage (24), and the trailer with the
    // waker and the list of all tasks (48). It aligns the sum to 128 bytes, so eight bytes more may cost 128.
    let task = size_of::<Driver>() + 32 + 24 + 48;
    assert!(task <= 640, "{task}");
    // Both have the last ten round trips in them, and the pings that the client may still send.
    assert!(size_of::<SessionCell>() <= 960, "{}", size_of::<SessionCell>());
    assert!(size_of::<Session>() <= 664, "{}", size_of::<Session>());
    assert!(size_of::<WebSocketLeg<ServiceStream>>() <= 192, "{}", size_of::<WebSocketLeg<ServiceStream>>());
}

/// A defect in Tidegate, arranged: it panics as soon as it is read.
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

impl Sending for Defect {}

impl ClientIo for Defect {
    fn rebind(self: Box<Self>) -> io::Result<ClientStream> {
        Ok(self)
    }
}

impl ClientIo for DuplexStream {
    fn rebind(self: Box<Self>) -> io::Result<ClientStream> {
        Ok(self)
    }
}

fn open(worker: &Rc<Worker>, client: impl ClientIo + 'static, service: ServiceLeg) {
    open_for(Identity::anonymous(), worker, client, service);
}

fn open_for(user: Identity, worker: &Rc<Worker>, client: impl ClientIo + 'static, service: ServiceLeg) {
    let session = Session::plain(beginning(worker), Arc::default(), None, user, worker.clock.now());
    open_session(session, worker, client, service);
}

fn open_session(session: Session, worker: &Rc<Worker>, client: impl ClientIo + 'static, service: ServiceLeg) {
    let leg = WebSocketLeg::new(Box::new(client) as _, Sender::Service, Inflow::new(Sender::Client, 1000, false), &[]);
    let service = ServiceSide::new(service, None);
    Driver::spawn(worker, session, None, ClientSide::new(ClientLeg::Websocket(leg), None), service);
}

#[tokio::test]
async fn a_panic_in_one_session_touches_no_other() {
    LocalSet::new()
        .run_until(async {
            let worker = worker(([127, 0, 0, 1], 1).into(), 100);
            let (near, mut far) = tokio::io::duplex(1024);
            open(&worker, near, ServiceLeg::Absent);
            open(&worker, Defect, ServiceLeg::Absent);
            assert_eq!(worker.len(), 2);
            // A masked ping with an empty payload, and its answer.
            for _ in 0..3 {
                far.write_all(&[0x89, 0x80, 1, 2, 3, 4]).await.unwrap();
                let mut pong = [0; 2];
                far.read_exact(&mut pong).await.unwrap();
                assert_eq!(pong, [0x8a, 0x00]);
                tokio::task::yield_now().await;
            }
            assert_eq!(worker.len(), 1, "the one with the defect is gone, the other is not");
        })
        .await;
}

#[tokio::test]
async fn a_pong_that_waited_does_not_tear_the_message_before_a_broken_frame() {
    LocalSet::new()
        .run_until(async {
            let (near, mut client) = tokio::io::duplex(10_000);
            let (far, mut service) = tokio::io::duplex(10_000);
            let inflow = Inflow::new(Sender::Service, 10_000, false);
            let leg = WebSocketLeg::new(ServiceStream::Tls(Box::new(far)), Sender::Client, inflow, &[]);
            let worker = worker(([127, 0, 0, 1], 1).into(), 100);
            open(&worker, near, ServiceLeg::Open(Box::new(leg)));
            // A binary message of 4096 bytes, of which 3000 come first.
            let mut message = vec![0x82, 126, 0x10, 0];
            message.resize(4 + 4096, b'x');
            service.write_all(&message[..3004]).await.unwrap();
            let mut got = vec![0; 3004];
            client.read_exact(&mut got).await.unwrap();
            // A ping, whose answer waits for the rest, and a message by which the service learns that it was read.
            client.write_all(&[0x89, 0x80, 1, 2, 3, 4, 0x81, 0x80, 1, 2, 3, 4]).await.unwrap();
            service.read_exact(&mut [0; 6]).await.unwrap();
            // The rest, and a frame with a reserved opcode.
            service.write_all(&[&message[3004..], &[0x83, 0]].concat()).await.unwrap();
            got.resize(message.len(), 0);
            client.read_exact(&mut got[3004..]).await.unwrap();
            assert!(got == message, "the message is torn");
            let mut pong = [0; 2];
            client.read_exact(&mut pong).await.unwrap();
            assert_eq!(pong, [0x8a, 0x00]);
        })
        .await;
}

#[tokio::test]
async fn a_service_that_closes_hears_a_close_whether_its_client_is_held_or_not() {
    const RESTART: [u8; 2] = 1012_u16.to_be_bytes();
    for on_upstream_loss in [OnUpstreamLoss::Hold, OnUpstreamLoss::Close] {
        LocalSet::new()
            .run_until(async {
                let (near, mut client) = tokio::io::duplex(1000);
                let (far, mut service) = tokio::io::duplex(1000);
                let inflow = Inflow::new(Sender::Service, 1000, false);
                let leg = WebSocketLeg::new(ServiceStream::Tls(Box::new(far)), Sender::Client, inflow, &[]);
                let worker = worker(([127, 0, 0, 1], 1).into(), 100);
                let route = Arc::new(PlainRules { on_upstream_loss, ..PlainRules::default() });
                let user = Identity::anonymous();
                let session = Session::plain(beginning(&worker), route, None, user, worker.clock.now());
                open_session(session, &worker, near, ServiceLeg::Open(Box::new(leg)));

                service.write_all(&[&[0x88, 2][..], &RESTART].concat()).await.unwrap();
                let mut close = [0; 8];
                service.read_exact(&mut close).await.unwrap();
                assert_eq!(close[..2], [0x88, 0x82], "a Close, masked");
                assert_eq!([close[6] ^ close[2], close[7] ^ close[3]], RESTART);

                client.write_all(&[0x89, 0x80, 1, 2, 3, 4]).await.unwrap();
                let mut first = [0; 1];
                client.read_exact(&mut first).await.unwrap();
                let goes_on = first == [0x8a];
                assert_eq!(goes_on, on_upstream_loss == OnUpstreamLoss::Hold, "{first:?}");
            })
            .await;
    }
}

#[tokio::test]
async fn the_service_is_read_on_after_a_message_that_fills_the_client_and_is_taken_at_once() {
    LocalSet::new()
        .run_until(async {
            let (near, mut client) = tokio::io::duplex(1_000_000);
            let (far, mut service) = tokio::io::duplex(1_000_000);
            let inflow = Inflow::new(Sender::Service, 1_000_000, false);
            let leg = WebSocketLeg::new(ServiceStream::Tls(Box::new(far)), Sender::Client, inflow, &[]);
            open(&worker(([127, 0, 0, 1], 1).into(), 100), near, ServiceLeg::Open(Box::new(leg)));
            // All but the last fragment of a message of 100,000 bytes.
            let mut fragment = vec![0x02, 127, 0, 0, 0, 0, 0, 1, 0x86, 0xa0];
            fragment.resize(10 + 100_000, b'x');
            service.write_all(&fragment).await.unwrap();
            // A ping; when its answer comes, everything before it has been read.
            client.write_all(&[0x89, 0x80, 1, 2, 3, 4]).await.unwrap();
            client.read_exact(&mut [0; 2]).await.unwrap();

            // The last fragment, empty, comes alone. The message is put together, queued, and sent in the same turn.
            service.write_all(&[0x80, 0]).await.unwrap();
            client.read_exact(&mut fragment).await.unwrap();
            service.write_all(&[0x82, 1, b'y']).await.unwrap();

            let mut next = [0; 3];
            let read = tokio::time::timeout(Duration::from_secs(40), client.read_exact(&mut next)).await;
            read.expect("the service is not read any more").unwrap();
            assert_eq!(next, [0x82, 1, b'y']);
        })
        .await;
}

#[tokio::test]
async fn a_clock_that_is_set_forward_ends_at_once_what_has_expired_by_it() {
    const HOUR: Duration = Duration::from_secs(3600);
    LocalSet::new()
        .run_until(async {
            let worker = worker(([127, 0, 0, 1], 1).into(), 100);
            let token_ends =
                |after| Identity::continued(Some("ada".into()), Some(SystemTime::now() + after), Details::default());
            let (near, mut expired) = tokio::io::duplex(1024);
            open_for(token_ends(HOUR), &worker, near, ServiceLeg::Absent);
            let (near, mut good) = tokio::io::duplex(1024);
            open_for(token_ends(HOUR * 3), &worker, near, ServiceLeg::Absent);
            tokio::task::yield_now().await;

            // Back first: that prolongs nothing.
            for wall in [SystemTime::now() - HOUR, SystemTime::now() + HOUR] {
                worker.look_after_sessions(Now::new(Instant::now(), wall));
                tokio::task::yield_now().await;
            }

            let mut close = [0; 4];
            expired.read_exact(&mut close).await.unwrap();
            assert_eq!((close[0], &close[2..]), (0x88, &1012_u16.to_be_bytes()[..]), "a Close");
            good.write_all(&[0x89, 0x80, 1, 2, 3, 4]).await.unwrap();
            let mut pong = [0; 2];
            good.read_exact(&mut pong).await.unwrap();
            assert_eq!(pong, [0x8a, 0x00]);
            let names = Arc::new(EventNames::new(10, []));
            let page = Exposition::new(vec![Arc::clone(&worker.tally)], names, Arc::default(), None).render();
            assert!(page.lines().any(|line| line == "tidegate_clock_jumps_total 2"), "{page}");
        })
        .await;
}

#[tokio::test]
async fn a_connection_that_no_session_takes_is_closed_and_counted() {
    let worker = worker(([127, 0, 0, 1], 1).into(), 100);
    worker.tally.opened();
    worker.tally.polling(1);
    let (pid, sid) = (worker.draw_id(), worker.draw_id());
    let claim = Claim { user: None, namespace: "/".into(), offset: None };
    let returning = Returning {
        pid,
        claim,
        sid,
        peer: [127, 0, 0, 1].into(),
        identity: Identity::anonymous(),
        connect: Vec::new().into(),
    };
    let leg = ClientLeg::Polling(Box::new(PollingLeg::new(1000)));
    let attachment = Attachment { leg, owner: None, permit: None, returning, request: None };
    // This registry has no workers, so none has the session.
    worker.deliver(Target::Pid(pid), None, Transfer::Attach(Box::new(attachment)));
    let names = Arc::new(EventNames::new(10, []));
    let page = Exposition::new(vec![Arc::clone(&worker.tally)], names, Arc::default(), None).render();
    let ended = r#"websocket_disconnections_total{reason="client_lost"} 1"#;
    assert!(page.lines().any(|line| line == ended), "{page}");
    assert!(page.contains(r#"tidegate_sessions{transport="polling",quality="unknown"} 0"#), "{page}");
}

#[test]
fn an_idle_session_is_small() {
    assert!(size_of::<Driver>() <= 700, "{}", size_of::<Driver>());
    assert!(size_of::<Session>() <= 720, "{}", size_of::<Session>());
}
