//! Events from other nodes on their way to clients: whom they reach, and what a client costs that takes none.

use std::{future::Future, rc::Rc, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, DuplexStream},
    net::TcpListener,
    sync::mpsc,
    task::{LocalSet, spawn_local},
};

use super::{
    message::{Message, read_message},
    world::{Client, Way, arrive, arrive_unread, send, serve, worker},
};
use crate::{
    event_names::EventNames,
    observe::Exposition,
    relay::{
        cell::SessionCell,
        registry::WorkerCommand,
        room_command::{RoomCommand, Selection},
        worker::Worker,
    },
    session::{action::RoomOf, delivery::Delivery},
    wire::websocket::frame::Sender,
};

/// Nothing takes so long.
const PATIENCE: Duration = Duration::from_secs(40);

/// A worker before a service, and its clients.
struct Party {
    worker: Rc<Worker>,
}

impl Party {
    /// Before a service that says this to each client that joins.
    async fn before(says: Vec<Message>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let worker = worker(listener.local_addr().unwrap(), 1000);
        spawn_local(serve(listener, says, mpsc::unbounded_channel().0));
        spawn_local({
            let worker = Rc::clone(&worker);
            async move { worker.serve_rooms().await }
        });
        Self { worker }
    }

    /// A client that joins `/` and enters these rooms there.
    async fn joins(&self, way: Way, rooms: &[&str]) -> Guest {
        let (client, mut write) = arrive(&self.worker, way);
        let session = self.newest();
        match &mut write {
            Some(write) => send(write, &["40".into()]).await,
            None => client.post(&["40".into()]).await.unwrap(),
        }
        until(|| !client.got.borrow().is_empty()).await;
        client.got.borrow_mut().clear();
        self.enters(&session, rooms);
        Guest { client, session, _write: write }
    }

    /// One that has asked for `/` and reads nothing by itself.
    async fn joins_unread(&self, rooms: &[&str]) -> (DuplexStream, Rc<SessionCell>) {
        let mut io = arrive_unread(&self.worker, self.worker.draw_id());
        let session = self.newest();
        send(&mut io, &["40".into()]).await;
        until(|| session.session.try_borrow().is_ok_and(|session| session.view().has_joined())).await;
        self.enters(&session, rooms);
        (io, session)
    }

    fn newest(&self) -> Rc<SessionCell> {
        let id = self.worker.ids().pop().unwrap();
        self.worker.session(id).unwrap()
    }

    fn enters(&self, session: &SessionCell, rooms: &[&str]) {
        for room in rooms {
            self.worker.join_room(session, &RoomOf { namespace: "/".into(), room: (*room).into() });
        }
    }

    fn command(&self, command: RoomCommand) {
        self.worker.run(WorkerCommand::Rooms(command));
    }

    fn says(&self, rooms: &[&str], except: &[&str], delivery: Delivery) {
        self.command(RoomCommand::Deliver(selection(rooms, except), Arc::new(delivery)));
    }

    /// Whether `/metrics` has this line.
    fn counts(&self, line: &str) -> bool {
        let tallies = vec![Arc::clone(&self.worker.tally)];
        let page = Exposition::new(tallies, Arc::new(EventNames::new(10, [])), Arc::default(), None).render();
        page.lines().any(|other| other == line)
    }
}

/// A client that has joined.
struct Guest {
    client: Rc<Client>,
    session: Rc<SessionCell>,
    _write: Option<tokio::io::WriteHalf<DuplexStream>>,
}

impl Guest {
    /// Waits until it has got this, and no more.
    async fn gets(&self, expected: &[Message]) {
        until(|| self.client.got.borrow().len() >= expected.len()).await;
        assert_eq!(self.client.got.take(), expected);
    }
}

fn selection(rooms: &[&str], except: &[&str]) -> Selection {
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.into()).collect();
    Selection { namespace: "/".into(), rooms: texts(rooms), except: texts(except) }
}

fn event(json: impl Into<String>) -> Delivery {
    Delivery::new("/", json.into().into(), Vec::new(), false)
}

/// An event with so many bytes of text.
fn long_event(bytes: usize) -> Delivery {
    event(format!(r#"["long","{}"]"#, "x".repeat(bytes)))
}

async fn until(is_so: impl Fn() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    waited.await.expect("it does not come to that");
}

fn play(scene: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, scene);
}

#[test]
fn an_event_reaches_each_client_of_its_rooms_once_over_either_transport() {
    play(async {
        let party = Party::before(Vec::new()).await;
        let one = party.joins(Way::Websocket, &["s1", "a"]).await;
        let both = party.joins(Way::Polling(1), &["s2", "a", "b"]).await;
        let other = party.joins(Way::Websocket, &["s3", "b", "c"]).await;
        let text = r#"["file",{"_placeholder":true,"num":0}]"#;
        let binary = || Delivery::new("/", text.into(), vec![vec![1, 2, 3, 4].into()], false);
        let got = [Message::Text(format!("451-{text}")), Message::Binary(vec![1, 2, 3, 4])];

        party.says(&["a", "b"], &["c"], binary());
        party.says(&["s3"], &[], event(r#"["last"]"#));
        one.gets(&got).await;
        both.gets(&got).await;
        other.gets(&[r#"42["last"]"#.into()]).await;
        party.says(&[], &["s1", "nowhere"], event(r#"["all"]"#));
        party.says(&["s1"], &[], event(r#"["last"]"#));
        one.gets(&[r#"42["last"]"#.into()]).await;
        both.gets(&[r#"42["all"]"#.into()]).await;
        other.gets(&[r#"42["all"]"#.into()]).await;
        party.says(&["nowhere"], &[], event(r#"["nobody"]"#));
        party.command(RoomCommand::Deliver(
            Selection { namespace: "/other".into(), ..Selection::default() },
            Arc::new(event(r#"["nobody"]"#)),
        ));
        party.says(&[], &[], event(r#"["end"]"#));
        for guest in [&one, &both, &other] {
            guest.gets(&[r#"42["end"]"#.into()]).await;
        }
        assert!(party.counts(r#"tidegate_deliveries_total{result="said"} 9"#));
        assert!(!party.counts("tidegate_rooms 0"));
    });
}

#[test]
fn an_event_of_many_clients_leaves_none_out() {
    play(async {
        let party = Party::before(Vec::new()).await;
        let mut guests = Vec::new();
        // More than one chunk of those that get their mail in one go.
        for _ in 0..300 {
            guests.push(party.joins(Way::Websocket, &["all"]).await);
        }
        party.says(&["all"], &[], event(r#"["n",1]"#));
        party.says(&["all"], &[], event(r#"["n",2]"#));
        for guest in &guests {
            guest.gets(&[r#"42["n",1]"#.into(), r#"42["n",2]"#.into()]).await;
        }
    });
}

#[test]
fn a_client_that_reads_nothing_costs_itself_alone() {
    play(async {
        let party = Party::before(Vec::new()).await;
        let (_far, stuck) = party.joins_unread(&["all"]).await;
        let good = party.joins(Way::Websocket, &["all"]).await;
        let long = || long_event(200_000);
        let text = Message::Text(String::from_utf8(long().text().to_vec()).unwrap());
        party.says(&["all"], &[], long());
        good.gets(std::slice::from_ref(&text)).await;
        // More waits for it than a client may have that gets what is worth nothing later.
        party.says(&["all"], &[], Delivery::new("/", r#"["cursor"]"#.into(), Vec::new(), true));
        good.gets(&[r#"42["cursor"]"#.into()]).await;
        assert!(party.counts(r#"tidegate_deliveries_total{result="dropped_behind"} 1"#));
        assert!(party.worker.session(stuck.id).is_some());
        // In the end it is closed, at limits.send_buffer, and leaves its rooms.
        for _ in 0..60 {
            party.says(&["all"], &[], long());
            good.gets(std::slice::from_ref(&text)).await;
        }
        assert!(party.counts(r#"websocket_disconnections_total{reason="slow_reader"} 1"#));
        assert_eq!(party.worker.rooms.select(&selection(&["all"], &[])), [good.session.id]);
    });
}

#[test]
fn events_wait_behind_a_message_that_passes_in_parts_as_far_as_there_is_room() {
    play(async {
        // Too long to be stored, so that it passes as it comes.
        let long = Message::Text(format!(r#"42["huge","{}"]"#, "x".repeat(17 * 1024 * 1024)));
        let party = Party::before(vec![long.clone()]).await;
        let (mut io, session) = party.joins_unread(&["s1"]).await;
        assert!(
            matches!(read_message(&mut io, Sender::Service).await, Some(Message::Text(text)) if text.starts_with("0{") || text.starts_with("40"))
        );
        let mut header = [0; 10];
        io.read_exact(&mut header).await.unwrap();
        assert_eq!(header[..2], [0x81, 127], "the message has begun, and there is no room for all of it");
        let event_of = |mark: &str, bytes: usize| event(format!(r#"["{mark}","{}"]"#, "x".repeat(bytes)));
        for (mark, bytes) in [("one", 6_000_000), ("two", 6_000_000), ("three", 10)] {
            party.says(&["s1"], &[], event_of(mark, bytes));
        }
        until(|| party.counts(r#"tidegate_deliveries_total{result="dropped_mailbox_full"} 1"#)).await;
        assert!(session.has_room_mail());

        let mut rest = vec![0; 17 * 1024 * 1024 + r#"42["huge",""]"#.len()];
        io.read_exact(&mut rest).await.unwrap();
        assert!(Message::Text(String::from_utf8(rest).unwrap()) == long, "the message is torn");
        for mark in ["one", "three"] {
            let Some(Message::Text(text)) = read_message(&mut io, Sender::Service).await else { panic!() };
            assert!(text.starts_with(&format!(r#"42["{mark}""#)), "{}", &text[..20]);
        }
    });
}

/// A session enters and leaves rooms in its own turn, which has to wait for the end of a message that passes in parts.
#[test]
fn a_room_counts_from_the_moment_at_which_it_was_asked_for() {
    play(async {
        let long = Message::Text(format!(r#"42["huge","{}"]"#, "x".repeat(17 * 1024 * 1024)));
        let party = Party::before(vec![long.clone()]).await;
        let (mut io, session) = party.joins_unread(&["s1", "early"]).await;
        read_message(&mut io, Sender::Service).await.unwrap();
        let mut header = [0; 10];
        io.read_exact(&mut header).await.unwrap();
        assert_eq!(header[..2], [0x81, 127], "the message has begun, and there is no room for all of it");
        let all = |texts: &[&str]| texts.iter().map(|&text| text.into()).collect();
        let says =
            |rooms: &[&str], except: &[&str], text: &str| party.says(rooms, except, event(format!(r#"["{text}"]"#)));

        says(&["late"], &[], "nobody");
        says(&[], &["late"], "before");
        party.command(RoomCommand::Join(selection(&["s1"], &[]), all(&["late"])));
        says(&["late"], &[], "joined");
        says(&["late"], &["early"], "nobody");
        says(&["early"], &["late"], "nobody");
        party.command(RoomCommand::Join(selection(&["late"], &[]), all(&["later"])));
        says(&["later"], &[], "later");
        party.command(RoomCommand::Leave(selection(&["later"], &[]), all(&["late", "elsewhere"])));
        says(&["late"], &[], "nobody");
        says(&["early"], &["late"], "left");
        party.command(RoomCommand::Join(selection(&["elsewhere"], &[]), all(&["nowhere"])));
        says(&["nowhere"], &[], "nobody");
        says(&["s1"], &[], "end");
        // There is no room for this, by which all before it has been done.
        party.says(&["s1"], &[], long_event(12_000_000));
        until(|| party.counts(r#"tidegate_deliveries_total{result="dropped_mailbox_full"} 1"#)).await;
        assert!(session.has_room_mail());

        let mut rest = vec![0; 17 * 1024 * 1024 + r#"42["huge",""]"#.len()];
        io.read_exact(&mut rest).await.unwrap();
        assert!(Message::Text(String::from_utf8(rest).unwrap()) == long, "the message is torn");
        for text in ["before", "joined", "later", "left"] {
            let got = read_message(&mut io, Sender::Service).await;
            assert_eq!(got, Some(Message::Text(format!(r#"42["{text}"]"#))));
        }
        says(&["later"], &[], "at rest");
        for text in ["end", "at rest"] {
            let got = read_message(&mut io, Sender::Service).await;
            assert_eq!(got, Some(Message::Text(format!(r#"42["{text}"]"#))));
        }
    });
}

#[test]
fn a_client_that_is_disconnected_hears_it_over_either_transport_and_leaves_its_rooms() {
    play(async {
        let party = Party::before(Vec::new()).await;
        let ways = [Way::Websocket, Way::Polling(1)];
        for way in ways {
            let (out, stays) = (party.joins(way, &["out"]).await, party.joins(way, &["stays"]).await);
            party.command(RoomCommand::Disconnect(selection(&["out"], &[]), true));
            until(|| out.client.ended.get()).await;
            out.gets(&["41".into()]).await;
            party.says(&[], &[], event(r#"["all"]"#));
            stays.gets(&[r#"42["all"]"#.into()]).await;
            party.command(RoomCommand::Disconnect(selection(&["stays"], &[]), false));
            stays.gets(&["41".into()]).await;
            assert!(!stays.client.ended.get(), "its connection stays");
        }
        assert!(party.counts(r#"websocket_disconnections_total{reason="disconnected"} 2"#));
    });
}
