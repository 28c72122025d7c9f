//! A tutor: the events of a tutoring service, in memory, without a check of tokens and without a limit.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::{Value, json};
use socketioxide::extract::{AckSender, Data, SocketRef, TryData};
use tokio::time::sleep;

const QUALITY_EVERY: Duration = Duration::from_secs(5);
/// How long the tutor thinks, if it is not asked for more.
const THINKS_FOR: Duration = Duration::from_millis(150);
/// How long it can be asked to think.
const THINKS_MOST: Duration = Duration::from_secs(5);
const LESSON_ADAPTED_EVERY: u32 = 3;
const BREAK_AFTER: u32 = 6;
/// Questions with their answers, one after the other.
const QUESTIONS: &[(&str, &str)] = &[
    ("What is 1/2 + 1/4?", "3/4"),
    ("Which is more, 1/3 or 1/4?", "1/3"),
    ("What is 2/3 of 9?", "6"),
    ("What is 1/2 of 1/2?", "1/4"),
    ("How many quarters are in 2?", "8"),
];

/// How many questions for the tutor have come since the service started. A restart forgets it, as services do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard(Arc<AtomicU32>);

#[derive(Default, Deserialize)]
pub(crate) struct Auth {
    #[serde(rename = "learnerId")]
    learner_id: Option<String>,
}

/// The lesson of one socket.
struct Lesson {
    learner: String,
    answers: AtomicU32,
}

pub(crate) fn connected(socket: SocketRef, TryData(auth): TryData<Auth>, heard: &Heard) {
    let learner = auth.unwrap_or_default().learner_id.unwrap_or_else(|| "somebody".to_owned());
    let lesson = Arc::new(Lesson { learner, answers: AtomicU32::new(0) });
    socket.on("agent:learning", async move |socket: SocketRef, Data::<Value>(asked), ack: AckSender| {
        lesson.asked(&socket, &asked, ack);
    });
    let heard = heard.clone();
    socket.on("agent:tutor", async move |socket: SocketRef, Data::<Value>(asked), ack: AckSender| {
        tutor(&socket, &asked, ack, &heard).await;
    });
    socket.on("agent:speech", async |Data::<Value>(asked), ack: AckSender| {
        let characters = asked["audioBuffer"].as_str().map_or(0, str::len);
        answer(ack, &json!({ "success": true, "transcript": "", "base64Characters": characters }));
    });
    tokio::spawn(watch_quality(socket));
}

/// Counts the question before it thinks: what is killed meanwhile was heard, and not answered.
async fn tutor(socket: &SocketRef, asked: &Value, ack: AckSender, heard: &Heard) {
    let number = heard.0.fetch_add(1, Ordering::Relaxed) + 1;
    sleep(asked["thinkMs"].as_u64().map_or(THINKS_FOR, Duration::from_millis).min(THINKS_MOST)).await;
    let input = asked["input"].as_str().unwrap_or_default();
    answer(ack, &json!({ "success": true, "number": number, "input": input }));
    if !asked["quiet"].as_bool().unwrap_or_default() {
        emit(socket, "tutor:message", &json!({ "message": thought(input) }));
    }
}

fn thought(input: &str) -> String {
    let asked = input.to_lowercase();
    let hint = if asked.contains("1/3") || asked.contains("third") {
        "Cut one cake into three pieces and another into two. Which piece is larger?"
    } else if asked.contains("add") || asked.contains('+') {
        "Only pieces of one size can be counted together. How do you make them the same size?"
    } else if asked.contains("hello") || asked.contains("hi ") {
        "Hello! Start a lesson, or ask me about fractions."
    } else {
        "Good question. What do you think yourself, and why?"
    };
    hint.to_owned()
}

impl Lesson {
    fn asked(&self, socket: &SocketRef, asked: &Value, ack: AckSender) {
        match asked["action"].as_str() {
            Some("start_session") => {
                self.answers.store(0, Ordering::Relaxed);
                let session = json!({ "learnerId": self.learner, "subject": asked["subject"] });
                answer(ack, &json!({ "success": true, "session": session }));
                let greeting = format!("Welcome, {}. {}", self.learner, question(0).0);
                emit(socket, "tutor:message", &json!({ "message": greeting }));
            }
            Some("process_answer") => self.answered(socket, asked, ack),
            Some("get_recommendation") => {
                let level = self.level();
                answer(ack, &json!({ "success": true, "recommendation": format!("fractions, level {level}") }));
            }
            _ => answer(ack, &json!({ "error": "action is one of start_session, process_answer, get_recommendation" })),
        }
    }

    fn answered(&self, socket: &SocketRef, asked: &Value, ack: AckSender) {
        let before = self.answers.fetch_add(1, Ordering::Relaxed);
        let (_, right) = question(before);
        let given = asked["answer"].as_str().unwrap_or_default().replace(' ', "");
        let correct = given == right;
        let verdict = if correct { "Right!".to_owned() } else { format!("Not quite: it is {right}.") };
        let count = before + 1;
        answer(ack, &json!({ "success": true, "correct": correct, "answers": count }));
        emit(socket, "tutor:message", &json!({ "message": format!("{verdict} {}", question(count).0) }));
        if count.is_multiple_of(LESSON_ADAPTED_EVERY) {
            emit(socket, "content:adapted", &json!({ "difficulty": self.level() }));
        }
        if count.is_multiple_of(BREAK_AFTER) {
            emit(socket, "break:suggested", &json!({ "minutes": 5, "because": format!("{count} answers") }));
        }
    }

    fn level(&self) -> u32 {
        1 + self.answers.load(Ordering::Relaxed) / LESSON_ADAPTED_EVERY
    }
}

fn question(number: u32) -> (&'static str, &'static str) {
    QUESTIONS[number as usize % QUESTIONS.len()]
}

/// Tells the client, from time to time, how long its last answer took: an ack in the other direction.
async fn watch_quality(socket: SocketRef) {
    let mut latency_ms = None;
    loop {
        sleep(QUALITY_EVERY).await;
        let asked = Instant::now();
        let Ok(answered) = socket.emit_with_ack::<_, Value>("connection:quality", &json!({ "latencyMs": latency_ms }))
        else {
            return;
        };
        latency_ms = answered.await.ok().map(|_| asked.elapsed().as_micros() as f64 / 1e3);
    }
}

fn answer(ack: AckSender, body: &Value) {
    // Fails only if the client has left, and then the answer is not needed.
    let _ = ack.send(body);
}

fn emit(socket: &SocketRef, event: &str, body: &Value) {
    // As above.
    let _ = socket.emit(event, body);
}
