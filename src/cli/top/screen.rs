//! The life of the screen: asks the node every second, obeys keys, draws.

use std::{io, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    super::failure::TopError,
    fetch::Node,
    look::Look,
    model::{Model, Reading, Wish},
    query::Query,
    terminal::{Screen, keys},
    view,
};

/// How often the node is asked.
pub(super) const EVERY: Duration = Duration::from_secs(1);

/// What the node answers, or why it does not.
type Heard = Result<Reading, TopError>;

/// Shows `model` until a key or a signal ends it. `begin` is what the model's times are counted from.
pub(super) async fn show(node: Node, mut model: Model, look: Look, begin: Instant) -> Result<(), TopError> {
    let mut stop = Stop::new()?;
    let mut screen = Screen::enter()?;
    let mut keys = keys()?;
    let (ask, asked) = watch::channel(model.query());
    let (answers, mut heard) = mpsc::channel(1);
    let asking = tokio::spawn(ask_on(node, asked, answers));
    let mut second = interval(EVERY);
    loop {
        screen.terminal.draw(|frame| {
            model.resized(view::rows_for_sessions(&model, frame.area()));
            view::draw(&model, begin.elapsed(), look, frame.buffer_mut());
        })?;
        tokio::select! {
            key = keys.recv() => match key {
                Some(Some(key)) if model.press(key) == Wish::Quit => break,
                Some(_) => {}
                // The terminal is gone.
                None => break,
            },
            answer = heard.recv() => match answer {
                Some(Ok(reading)) => model.hear(reading, begin.elapsed()),
                Some(Err(error)) => model.lose(error.brief(), begin.elapsed()),
                None => break,
            },
            // For how long the node is lost.
            _ = second.tick() => {}
            () = stop.told() => break,
        }
        ask.send_if_modified(|query| {
            let next = model.query();
            let differs = *query != next;
            *query = next;
            differs
        });
    }
    drop(screen);
    asking.abort();
    Ok(())
}

/// Asks every second, and at once where something else is asked for.
async fn ask_on(node: Node, mut asked: watch::Receiver<Query>, answers: mpsc::Sender<Heard>) {
    let mut second = interval(EVERY);
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = second.tick() => {}
            changed = asked.changed() => if changed.is_err() { return },
        }
        let query = asked.borrow_and_update().clone();
        if answers.send(node.read(&query).await).await.is_err() {
            return;
        }
    }
}

/// The signals that end a program; Ctrl-C is a key here.
struct Stop([Signal; 4]);

impl Stop {
    fn new() -> io::Result<Self> {
        Ok(Self([
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
            signal(SignalKind::quit())?,
        ]))
    }

    async fn told(&mut self) {
        let [terminate, interrupt, hangup, quit] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
            _ = quit.recv() => {}
        }
    }
}
