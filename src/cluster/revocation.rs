//! What is revoked, the same on every node: a sorted set in Redis, joined with what this node knows.
//!
//! The set is `tidegate:{name}:revoked`. Each member is `jti:ID`, `user:SECONDS:NAME` or `socket:ID`, where SECONDS is the moment
//! since 1970 until which tokens of the user are revoked, and its score is the moment at which it ends. Every program may add to
//! it. A revocation cannot be taken back: what a node knows and Redis does not, because Redis has lost it, is written again.

use std::{
    fmt::Write as _,
    str,
    time::{Duration, Instant, SystemTime},
};

use redis::{RedisResult, aio::ConnectionLike};

use crate::{
    cluster::link::Link,
    observe::journal::{self, LogLevel},
    policy::auth::revoked::{REVOKED_MAX, Revocation, Revoked, Whom, unix_seconds},
    relay::revoker::{RevocationScope, Revoker},
};

/// How often Redis is asked whether the set has grown.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How often all of the set is read: also what has changed without growing.
const READ_EVERY: Duration = Duration::from_secs(1);

/// How often what has ended is removed from the set, ...
const CLEAN_EVERY: Duration = Duration::from_mins(1);

/// ... so long after its end, because the clock of another node may be behind.
const CLEAN_AFTER: Duration = Duration::from_hours(1);

/// So many members are written in one command.
const WRITE_MAX: usize = 1000;

/// Keeps the list of this node and the set in Redis the same.
#[derive(Debug)]
pub struct Revocations {
    key: String,
    link: Link,
    revoker: Revoker,
    /// How many members the set had. `None`: that is to be read.
    size: Option<usize>,
    read: Option<Instant>,
    cleaned: Option<Instant>,
    /// The last pass has failed, a member cannot be read, or there are too many: that was told.
    is_failing: bool,
    has_unreadable: bool,
    is_full: bool,
}

impl Revocations {
    /// Of a cluster whose keys begin with `prefix`.
    #[must_use]
    pub fn new(prefix: &str, link: Link, revoker: Revoker) -> Self {
        revoker.reaches(RevocationScope::Later);
        let key = format!("{prefix}revoked");
        let (size, read, cleaned) = (None, None, None);
        Self { key, link, revoker, size, read, cleaned, is_failing: false, has_unreadable: false, is_full: false }
    }

    /// Runs as long as the node.
    pub async fn run(mut self) {
        loop {
            match self.link.connection() {
                None => self.revoker.reaches(RevocationScope::Later),
                Some(mut connection) => {
                    let outcome = self.pass(&mut connection).await;
                    self.tell(outcome);
                }
            }
            tokio::select! {
                () = self.revoker.added() => self.size = None,
                goes_on = self.link.changed() => {
                    if !goes_on {
                        return;
                    }
                    self.size = None;
                }
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    fn tell(&mut self, outcome: RedisResult<()>) {
        let Err(error) = outcome else {
            self.revoker.reaches(RevocationScope::Nodes);
            self.is_failing = false;
            return;
        };
        self.revoker.reaches(RevocationScope::Later);
        self.size = None;
        if !self.is_failing {
            self.is_failing = true;
            let sentence = format!(
                "revocations are not shared with other nodes until Redis is there: {} cannot be read or written: {error}",
                self.key
            );
            journal::line(LogLevel::Warn, &sentence);
        }
    }

    /// Reads the set where it may have changed, and writes what it lacks.
    async fn pass(&mut self, redis: &mut impl ConnectionLike) -> RedisResult<()> {
        let now = Instant::now();
        let is_due = |last: Option<Instant>, every| last.is_none_or(|last| now.duration_since(last) >= every);
        if is_due(self.cleaned, CLEAN_EVERY) {
            let ended = unix_seconds(SystemTime::now()).saturating_sub(CLEAN_AFTER.as_secs());
            let () = redis::cmd("ZREMRANGEBYSCORE").arg(&self.key).arg("-inf").arg(ended).query_async(redis).await?;
            (self.cleaned, self.size) = (Some(now), None);
        }
        let size = redis::cmd("ZCARD").arg(&self.key).query_async(redis).await?;
        if self.size == Some(size) && !is_due(self.read, READ_EVERY) {
            return Ok(());
        }
        let theirs = self.read(redis).await?;
        (self.size, self.read) = (Some(size), Some(now));
        self.tell_full(size);
        let ours = self.revoker.list();
        let mut news = theirs.list.beyond(&ours);
        // What would be forgotten at once would be news again.
        let floor = ours.floor(REVOKED_MAX);
        news.retain(|revocation| revocation.until > floor);
        let done = self.revoker.revoke(&news, SystemTime::now()).await;
        if done.new > 0 {
            let sentence =
                format!("{} revocations were read from Redis; they met {} sessions here", done.new, done.sessions);
            journal::line(LogLevel::Info, &sentence);
        }
        let missing = theirs.lacks(&self.revoker.list());
        for chunk in missing.chunks(WRITE_MAX) {
            let mut command = redis::cmd("ZADD");
            command.arg(&self.key).arg("GT");
            for revocation in chunk {
                command.arg(revocation.until).arg(member(&revocation.whom));
            }
            let () = command.query_async(redis).await?;
            self.size = None;
        }
        Ok(())
    }

    fn tell_full(&mut self, size: usize) {
        let is_full = size > REVOKED_MAX;
        if is_full && !self.is_full {
            let sentence = format!(
                "{} has {size} members: nodes know {REVOKED_MAX} of them, those that last longest; let them end earlier",
                self.key
            );
            journal::line(LogLevel::Error, &sentence);
        }
        self.is_full = is_full;
    }

    /// What the set says, of more than fit what lasts longest.
    async fn read(&mut self, redis: &mut impl ConnectionLike) -> RedisResult<Theirs> {
        let now = unix_seconds(SystemTime::now());
        let mut command = redis::cmd("ZREVRANGEBYSCORE");
        command
            .arg(&self.key)
            .arg("+inf")
            .arg(format!("({now}"))
            .arg("WITHSCORES")
            .arg("LIMIT")
            .arg(0)
            .arg(REVOKED_MAX);
        let members: Vec<(Vec<u8>, f64)> = command.query_async(redis).await?;
        let (theirs, unreadable) = Theirs::of(&members, REVOKED_MAX);
        if unreadable > 0 && !self.has_unreadable {
            let sentence = format!(
                "{unreadable} members of {} are ignored: each must be jti:ID, user:SECONDS:NAME or socket:ID",
                self.key
            );
            journal::line(LogLevel::Warn, &sentence);
        }
        self.has_unreadable = unreadable > 0;
        Ok(theirs)
    }
}

/// What was read of the set.
#[derive(Debug, Default)]
struct Theirs {
    list: Revoked,
    /// The last member that was read, where there may be more, with its end. `None`: this is all.
    last: Option<(u64, Vec<u8>)>,
}

impl Theirs {
    /// Of these members in the order of Redis, of which at most `max` are read; and how many of them nobody can read.
    fn of(members: &[(Vec<u8>, f64)], max: usize) -> (Self, usize) {
        let (mut theirs, mut unreadable) = (Self::default(), 0);
        for (text, until) in members {
            match whom(text) {
                Some(whom) => theirs.list.add(&Revocation { whom, until: *until as u64 }),
                None => unreadable += 1,
            }
        }
        theirs.last =
            members.last().filter(|_| members.len() >= max).map(|(text, until)| (*until as u64, text.clone()));
        (theirs, unreadable)
    }

    /// What is to be written. What Redis would put behind the last member that was read may be there already, and would be read
    /// by nobody.
    fn lacks(&self, ours: &Revoked) -> Vec<Revocation> {
        let mut missing = ours.beyond(&self.list);
        if let Some((last, text)) = &self.last {
            missing.retain(|Revocation { whom, until }| (*until, member(whom).as_bytes()) > (*last, &**text));
        }
        missing
    }
}

/// A member of the set.
fn member(whom: &Whom) -> String {
    let mut text = String::new();
    // Writing to a text cannot fail.
    let _ = match whom {
        Whom::Token(jti) => write!(text, "jti:{jti}"),
        Whom::User { name, at } => write!(text, "user:{at}:{name}"),
        Whom::Socket(id) => write!(text, "socket:{id}"),
    };
    text
}

/// Whom a member is about. `None`: it is none of ours.
fn whom(member: &[u8]) -> Option<Whom> {
    let (kind, name) = str::from_utf8(member).ok()?.split_once(':')?;
    match kind {
        "jti" => Some(Whom::Token(name.into())),
        "socket" => Some(Whom::Socket(name.into())),
        "user" => {
            let (at, name) = name.split_once(':')?;
            Some(Whom::User { name: name.into(), at: at.parse().ok()? })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_read_as_it_was_written() {
        for (text, expected) in [
            ("jti:a", Whom::Token("a".into())),
            ("jti:a:b", Whom::Token("a:b".into())),
            ("user:1800000000:ada", Whom::User { name: "ada".into(), at: 1_800_000_000 }),
            ("user:0:urn:ada:\u{e4}", Whom::User { name: "urn:ada:\u{e4}".into(), at: 0 }),
            ("socket:Xy_-9", Whom::Socket("Xy_-9".into())),
        ] {
            assert_eq!(whom(text.as_bytes()), Some(expected.clone()), "{text}");
            assert_eq!(member(&expected), text);
        }
    }

    #[test]
    fn of_more_than_are_read_only_what_would_be_read_is_written() {
        let token = |name: &str, until| Revocation { whom: Whom::Token(name.into()), until };
        let mut ours = Revoked::default();
        for (name, until) in [("a", 11), ("b", 10), ("c", 10), ("d", 10), ("e", 9)] {
            ours.add(&token(name, until));
        }
        let members = [(b"jti:x".to_vec(), 12.0), (b"jti:c".to_vec(), 10.0)];
        for (max, expected) in [(2, &["a", "d"][..]), (3, &["a", "b", "d", "e"])] {
            let (theirs, unreadable) = Theirs::of(&members, max);
            let mut lacks: Vec<_> = theirs.lacks(&ours).iter().map(|revocation| member(&revocation.whom)).collect();
            lacks.sort_unstable();
            assert_eq!(lacks, expected.iter().map(|name| format!("jti:{name}")).collect::<Vec<_>>(), "{max}");
            assert_eq!(unreadable, 0);
        }
    }

    #[test]
    fn other_members_are_nobody() {
        for text in [&b""[..], b"ada", b"user:ada", b"user:-1:ada", b"user:1.5:ada", b"jti", b"JTI:a", b"jti:\xff"] {
            assert_eq!(whom(text), None, "{text:?}");
        }
    }
}
