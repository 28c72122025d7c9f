//! The service is lost in any order of events: no packet is doubled, reordered or lost without being counted.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use proptest::prelude::*;

use super::{
    held::flowing,
    world::{RESTARTED, World},
};
use crate::session::{ended::Ended, hold::Overflow};

const NAMESPACES: [&str; 2] = ["/", "/chat"];
const RETRIES: u8 = 2;
const PACKETS_MAX: u32 = 6;

/// One event.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The client emits, perhaps with an ack, perhaps an event that may be sent again, perhaps with an attachment.
    Emits {
        chat: bool,
        asks: bool,
        again: bool,
        binary: bool,
    },
    /// The attachment follows.
    Attaches,
    /// The client answers the first open question of the service.
    Answers,
    /// The client leaves or joins `/chat`.
    Toggles,
    /// The service, dialled again, opens.
    Opens,
    /// The service answers a CONNECT: with the same sid if it knows one, with another sid, or with an error.
    Welcomes {
        same: bool,
    },
    Refuses,
    /// The service acknowledges the oldest event that asks for it.
    Acknowledges,
    /// The service emits an event that asks the client for an ack.
    Asks,
    /// The service is lost, or a dial fails.
    Goes,
    Passes {
        seconds: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => any::<[bool; 4]>().prop_map(|[chat, asks, again, binary]| Step::Emits { chat, asks, again, binary }),
        6 => Just(Step::Attaches),
        2 => Just(Step::Answers),
        1 => Just(Step::Toggles),
        5 => Just(Step::Opens),
        8 => any::<bool>().prop_map(|same| Step::Welcomes { same }),
        1 => prop::bool::weighted(0.2).prop_map(|refuses| if refuses { Step::Refuses } else { Step::Acknowledges }),
        5 => Just(Step::Acknowledges),
        2 => Just(Step::Asks),
        4 => Just(Step::Goes),
        2 => (0..12_u64).prop_map(|seconds| Step::Passes { seconds }),
    ]
}

/// Both ends, with what each of them knows.
struct Ends {
    held: World,
    overflow: Overflow,
    /// How often the service has restarted.
    life: u32,
    open: bool,
    /// The CONNECTs that this run of the service has not answered, and the namespaces that it has let the client into.
    asked: VecDeque<String>,
    joined_at_service: BTreeSet<String>,
    joined_at_client: BTreeSet<String>,
    /// The client has asked for `/chat` and has no answer yet.
    asks_for_chat: bool,
    sids: BTreeMap<String, String>,
    sids_drawn: u32,
    /// The number of the client's next event, which is also its ack id.
    next: u64,
    /// The event that lacks its attachment.
    begun: Option<u64>,
    /// Events that ask for an ack and have got neither the ack nor an error.
    unanswered: BTreeMap<u64, String>,
    emitted: BTreeSet<u64>,
    asking: BTreeSet<u64>,
    may_come_again: BTreeSet<u64>,
    /// In which runs of the service an event arrived.
    arrived: BTreeMap<u64, Vec<u32>>,
    newest: u64,
    newest_of_life: u64,
    to_acknowledge: VecDeque<(String, u64)>,
    /// The service's own ack ids, by run; what the client was asked, as (ack id, question, run).
    next_question: u64,
    questions: VecDeque<(u64, u64, u32)>,
}

fn namespace_of(text: &str) -> String {
    let at = text.find('/').filter(|&at| text[..at].bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'));
    at.map_or("/".to_owned(), |at| text[at..].split(',').next().unwrap().to_owned())
}

/// `4<type>[/namespace,]`
fn prefix(kind: &str, namespace: &str) -> String {
    if namespace == "/" { kind.to_owned() } else { format!("{kind}{namespace},") }
}

impl Ends {
    fn new(overflow: Overflow) -> Self {
        let held = flowing(|table| {
            table.retries = RETRIES;
            table.queue_packets = PACKETS_MAX;
            table.overflow = overflow;
        });
        Self {
            held,
            overflow,
            life: 0,
            open: true,
            asked: VecDeque::new(),
            joined_at_service: ["/".to_owned()].into(),
            joined_at_client: ["/".to_owned()].into(),
            asks_for_chat: false,
            sids: [("/".to_owned(), "first".to_owned())].into(),
            sids_drawn: 0,
            next: 0,
            begun: None,
            unanswered: BTreeMap::new(),
            emitted: BTreeSet::new(),
            asking: BTreeSet::new(),
            may_come_again: BTreeSet::new(),
            arrived: BTreeMap::new(),
            newest: 0,
            newest_of_life: 0,
            to_acknowledge: VecDeque::new(),
            next_question: 0,
            questions: VecDeque::new(),
        }
    }

    fn is_over(&self) -> bool {
        self.held.ended().is_some() || self.joined_at_client.is_empty()
    }

    fn does(&mut self, step: Step) {
        match step {
            Step::Emits { chat, asks, again, binary } => self.emits(NAMESPACES[usize::from(chat)], asks, again, binary),
            Step::Attaches => self.attaches(),
            Step::Answers if self.begun.is_none() => self.answers(),
            Step::Toggles if self.begun.is_none() => self.toggles(),
            Step::Opens if !self.open => {
                self.held.opens();
                self.open = true;
            }
            Step::Welcomes { same } => self.welcomes(same),
            Step::Refuses => self.refuses(),
            Step::Acknowledges => {
                if let Some((namespace, id)) = self.to_acknowledge.pop_front() {
                    self.held.service(&format!("{}{id}[\"done\"]", prefix("43", &namespace)));
                }
            }
            Step::Asks if self.joined_at_service.contains("/") => {
                let id = self.next_question;
                self.next_question += 1;
                self.held.service(&format!("42{id}[\"q\",{},{id}]", self.life));
            }
            Step::Goes => self.goes(),
            Step::Passes { seconds } => {
                if self.open {
                    self.held.service("2");
                }
                self.held.passes_with_a_heartbeat(Duration::from_secs(seconds));
            }
            Step::Answers | Step::Toggles | Step::Opens | Step::Asks => {}
        }
        self.look();
    }

    fn emits(&mut self, namespace: &str, asks: bool, again: bool, binary: bool) {
        if self.begun.is_some() || !self.joined_at_client.contains(namespace) {
            return;
        }
        self.next += 1;
        let seq = self.next;
        let id = if asks { seq.to_string() } else { String::new() };
        let name = if again { "again" } else { "once" };
        self.emitted.insert(seq);
        if asks {
            self.asking.insert(seq);
            self.unanswered.insert(seq, namespace.to_owned());
            if again {
                self.may_come_again.insert(seq);
            }
        }
        let text = if binary {
            self.begun = Some(seq);
            let head = prefix("451-", namespace);
            format!("{head}{id}[\"{name}\",{seq},{{\"_placeholder\":true,\"num\":0}}]")
        } else {
            format!("{}{id}[\"{name}\",{seq}]", prefix("42", namespace))
        };
        self.held.client(&text);
    }

    fn attaches(&mut self) {
        if self.begun.take().is_some() {
            self.held.attaches(b"bytes");
        }
    }

    fn answers(&mut self) {
        if let Some((id, question, life)) = self.questions.pop_front()
            && self.joined_at_client.contains("/")
        {
            self.held.client(&format!("43{id}[{life},{question}]"));
        }
    }

    fn toggles(&mut self) {
        if self.joined_at_client.remove("/chat") {
            self.held.client("41/chat,");
            self.left("/chat");
            return;
        }
        if !self.asks_for_chat {
            self.asks_for_chat = true;
            self.held.client("40/chat,");
        }
    }

    fn left(&mut self, namespace: &str) {
        self.joined_at_client.remove(namespace);
        self.sids.remove(namespace);
        // A client that has left waits for no ack.
        self.unanswered.retain(|_, other| other != namespace);
    }

    fn welcomes(&mut self, same: bool) {
        let Some(namespace) = self.asked.pop_front() else { return };
        if !same || !self.sids.contains_key(&namespace) {
            self.sids_drawn += 1;
            self.sids.insert(namespace.clone(), format!("sid{}", self.sids_drawn));
        }
        self.joined_at_service.insert(namespace.clone());
        let sid = self.sids[&namespace].clone();
        self.held.service(&format!("{}{{\"sid\":\"{sid}\"}}", prefix("40", &namespace)));
    }

    fn refuses(&mut self) {
        let Some(namespace) = self.asked.pop_front() else { return };
        let was_in = self.joined_at_client.contains(&namespace);
        self.held.service(&format!("{}{{\"message\":\"no\"}}", prefix("44", &namespace)));
        if was_in {
            let errors = self.held.at_client.iter().filter(|text| text.starts_with("44")).count();
            assert_eq!(errors, 0, "a client that has joined gets no refusal");
        }
        if self.begun.is_some() {
            // The client sends the rest: it does not know yet.
            self.attaches();
        }
    }

    fn goes(&mut self) {
        let ended = if self.open { Ended::ServiceLost } else { Ended::ServiceUnreachable };
        if !self.held.loses(ended) {
            return;
        }
        self.open = false;
        self.life += 1;
        self.newest_of_life = 0;
        self.next_question = 0;
        self.asked.clear();
        self.joined_at_service.clear();
        self.to_acknowledge.clear();
        // The dial that is due.
        self.held.passes(Duration::ZERO);
    }

    /// Checks what has arrived at both ends.
    fn look(&mut self) {
        for text in self.held.service_got() {
            self.service_hears(&text);
        }
        for text in self.held.client_got() {
            self.client_hears(&text);
        }
        let (packets, _) = self.held.view().waiting();
        assert!(packets <= PACKETS_MAX as usize, "{packets} wait");
        if self.held.ended() == Some(Ended::QueueFull) {
            assert_eq!(self.overflow, Overflow::Close);
        }
    }

    fn service_hears(&mut self, text: &str) {
        if text.starts_with('<') || text == "3" {
            return;
        }
        assert!(self.open, "{text}, although it is down");
        let namespace = namespace_of(text);
        match &text[..2] {
            "40" => self.asked.push_back(namespace),
            "41" => {
                self.joined_at_service.remove(&namespace);
                self.asked.retain(|asked| *asked != namespace);
                self.to_acknowledge.retain(|(asked_in, _)| *asked_in != namespace);
            }
            "42" | "45" => self.event_arrives(text, namespace),
            "43" => {
                let (id, answer) = text[2..].split_once('[').unwrap();
                let answer = answer.trim_end_matches(']');
                assert_eq!(answer, format!("{},{id}", self.life), "it answers a question of this run of the service");
            }
            _ => panic!("{text}"),
        }
    }

    fn event_arrives(&mut self, text: &str, namespace: String) {
        assert!(self.joined_at_service.contains(&namespace), "{text}, although the client has not joined");
        let seq: u64 = text.split(['"', '{', ']']).nth(2).unwrap().trim_matches(',').parse().unwrap();
        assert!(self.newest_of_life < seq, "{seq} behind {}", self.newest_of_life);
        self.newest_of_life = seq;
        let lives = self.arrived.entry(seq).or_default();
        lives.push(self.life);
        if self.may_come_again.contains(&seq) {
            assert!(lives.len() <= usize::from(RETRIES) + 1, "{seq} in {lives:?}");
        } else {
            assert_eq!(lives.len(), 1, "{seq} came twice");
            assert!(self.newest < seq, "{seq} behind {}", self.newest);
        }
        self.newest = self.newest.max(seq);
        if self.asking.contains(&seq) {
            self.to_acknowledge.push_back((namespace, seq));
        }
    }

    fn client_hears(&mut self, text: &str) {
        let namespace = namespace_of(text);
        self.asks_for_chat &= namespace != "/chat" || !matches!(&text[..2], "40" | "41" | "44");
        match &text[..2] {
            "40" => drop(self.joined_at_client.insert(namespace)),
            "41" => self.left(&namespace),
            "44" => assert!(!self.joined_at_client.contains(&namespace), "{text}"),
            "43" => {
                let digits = text.trim_start_matches("43").trim_start_matches("/chat,");
                let id = digits.split('[').next().unwrap().parse().unwrap();
                let answered = self.unanswered.remove(&id);
                assert_eq!(
                    answered,
                    Some(namespace),
                    "{text} answers an event that is answered already, or was never sent"
                );
                assert!(text.ends_with("[\"done\"]") || text.ends_with(&format!("[{RESTARTED}]")));
            }
            "42" => {
                let (id, question) = text[2..].split_once("[\"q\",").unwrap();
                let (life, asked) = question.trim_end_matches(']').split_once(',').unwrap();
                let id: u64 = id.parse().unwrap();
                assert!(self.questions.iter().all(|(other, ..)| *other != id), "two questions of one number");
                self.questions.push_back((id, asked.parse().unwrap(), life.parse().unwrap()));
            }
            _ => panic!("{text}"),
        }
    }

    /// The service opens, stays, and answers everything.
    fn all_ends_well(&mut self) {
        self.does(Step::Attaches);
        self.does(Step::Opens);
        self.does(Step::Passes { seconds: 2 });
        while !(self.is_over() || self.asked.is_empty() && self.to_acknowledge.is_empty()) {
            self.does(Step::Welcomes { same: false });
            // The client answers no pings, so what waits is sent when it has had its time.
            self.does(Step::Passes { seconds: 2 });
            self.does(Step::Acknowledges);
        }
        self.does(Step::Passes { seconds: 2 });
        if self.is_over() {
            return;
        }
        assert!(self.unanswered.is_empty(), "no answer to {:?}", self.unanswered);
        let missing = self.emitted.iter().filter(|seq| !self.arrived.contains_key(seq)).count() as u64;
        assert!(missing <= self.held.view().dropped(), "{missing} lost and not counted");
        self.does(Step::Passes { seconds: 1 });
        let state = format!("{:?}", self.held.session);
        assert!(state.contains("backlog: None") && state.contains("waiting: []"), "state is left: {state}");
    }
}

proptest! {
    #[test]
    fn no_packet_is_doubled_reordered_or_lost_without_being_counted(
        closes in any::<bool>(),
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let mut ends = Ends::new(if closes { Overflow::Close } else { Overflow::DropOldest });
        for step in steps {
            ends.does(step);
            if ends.is_over() {
                break;
            }
        }
        if !ends.is_over() {
            ends.all_ends_well();
        }
        ends.held.session.abandon();
        prop_assert_eq!(ends.held.view().waiting(), (0, 0));
    }
}
