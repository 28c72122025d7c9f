//! Several identities in one session: who is in which namespace, until when, and what each may send.

use std::time::Duration;

use super::{refused, shown, world::World};
use crate::{
    config::Config,
    policy::{
        auth::{AuthError, OTHER_USER, UsersPerConnection},
        rate_limit::{RateLimitTable, Scope},
    },
    session::{
        ended::Ended,
        event::Event,
        message::{Fate, Note},
    },
    units::Period,
};

const HOUR: Duration = Duration::from_secs(3600);

fn many(config: &mut Config) {
    config.auth.users_per_connection = UsersPerConnection::Many;
    config.rate_limit = vec![RateLimitTable { scope: Scope::User, messages: 3, ..RateLimitTable::default() }];
}

impl World {
    /// Asks for a namespace with the token of this user, and is let in by the service where the gate lets it.
    fn enters(&mut self, namespace: &str, user: &str, lives: Duration) -> Option<&'static str> {
        let json =
            if user.is_empty() { String::new() } else { format!(r#"{{"token":"{}"}}"#, self.token_of(user, lives)) };
        let name = if namespace == "/" { String::new() } else { format!("{namespace},") };
        let was_known = self.view().identity().is_some();
        self.client(&format!("40{name}{json}"));
        if let Some((code, _)) = refused(self) {
            return Some(code);
        }
        if !was_known {
            self.opens();
        }
        self.service(&format!(r#"40{name}{{"sid":"{}"}}"#, namespace.len()));
        self.forget_what_was_said();
        None
    }

    fn users(&self) -> Vec<String> {
        self.view().users()
    }

    /// How many of ten events pass.
    fn passes_of_ten(&mut self, event: &str) -> usize {
        (0..10).filter(|_| self.client(event) == Fate::Pass).count()
    }
}

#[test]
fn one_user_may_have_begun_as_a_guest_and_another_is_refused() {
    let mut world = World::without_auth(|_| ());
    assert_eq!(world.enters("/", "", HOUR), None);
    assert_eq!(world.enters("/a", "ada", HOUR), None);
    assert_eq!(world.enters("/b", "bob", HOUR), Some("auth.other_user"));
    assert_eq!(world.enters("/b", "", HOUR), None, "whoever has a name needs no further token");
    assert_eq!(world.users(), ["ada"]);
    world.client("41");
    assert_eq!(world.view().identity().and_then(|identity| identity.user()), Some("ada"));
}

#[test]
fn a_certificate_names_who_shows_no_token() {
    let guest = |config: &mut Config| config.auth.required = false;
    let mut world = World::certified("machine-7", guest);
    assert_eq!(world.enters("/", "", HOUR), None);
    assert_eq!(world.view().identity().and_then(|identity| identity.user()), Some("machine-7"));
    assert_eq!(world.enters("/a", "ada", HOUR), Some("auth.other_user"));

    let mut world = World::certified("machine-7", |config| {
        guest(config);
        many(config);
    });
    world.enters("/", "", HOUR);
    assert_eq!(world.enters("/a", "ada", HOUR), None);
    assert_eq!(world.users(), ["machine-7", "ada"]);
}

#[test]
fn each_user_has_the_budget_of_a_user() {
    let mut world = World::new(many);
    world.enters("/", "ada", HOUR);
    world.enters("/a", "bob", HOUR);
    world.enters("/b", "ada", HOUR);
    assert_eq!(world.passes_of_ten(r#"42["x"]"#), 3);
    assert_eq!(world.passes_of_ten(r#"42/b,["x"]"#), 0, "it is ada's");
    assert_eq!(world.passes_of_ten(r#"42/a,["x"]"#), 3);
    // Who leaves and comes back has what was left.
    world.client("41/a,");
    world.enters("/a", "bob", HOUR);
    assert_eq!(world.passes_of_ten(r#"42/a,["x"]"#), 0);
}

#[test]
fn a_budget_of_the_session_is_shared_by_its_users_also_after_a_reload() {
    let connection = |config: &mut Config| {
        many(config);
        config.rate_limit[0].scope = Scope::Connection;
    };
    let mut world = World::new(connection);
    world.enters("/", "ada", HOUR);
    assert_eq!((world.client(r#"42["x"]"#), world.client(r#"42["x"]"#)), (Fate::Pass, Fate::Pass));
    world.enters("/a", "bob", HOUR);
    assert_eq!(world.passes_of_ten(r#"42/a,["x"]"#), 1);
    assert_eq!(world.passes_of_ten(r#"42["x"]"#), 0);
    world.reloads(connection);
    assert_eq!(world.passes_of_ten(r#"42/a,["x"]"#) + world.passes_of_ten(r#"42["x"]"#), 3);
}

#[test]
fn a_guest_who_becomes_a_user_has_used_what_the_guest_has_used() {
    let mut world = World::without_auth(many);
    world.enters("/", "", HOUR);
    world.enters("/a", "", HOUR);
    assert_eq!((world.client(r#"42["x"]"#), world.client(r#"42["x"]"#)), (Fate::Pass, Fate::Pass));
    world.client("41/a,");
    world.client("41");
    world.enters("/", "ada", HOUR);
    assert_eq!(world.passes_of_ten(r#"42["x"]"#), 1);
    // Once, and not again with each namespace.
    let mut bob = World::without_auth(many);
    bob.enters("/", "", HOUR);
    bob.client("41");
    bob.enters("/", "bob", HOUR);
    assert_eq!(bob.passes_of_ten(r#"42["x"]"#), 3);
}

#[test]
fn a_namespace_is_left_when_its_token_expires_and_late_packets_cost_nothing() {
    let mut world = World::new(many);
    world.enters("/", "ada", HOUR);
    world.enters("/a", "bob", Duration::from_secs(10));
    world.passes(Duration::from_secs(10));
    assert_eq!(
        (world.ended(), world.client_got(), world.service_got()),
        (None, vec!["41/a,".to_owned()], vec!["41/a,".to_owned()])
    );
    for late in
        [r#"42/a,["x"]"#, r#"42/a,7["x"]"#, "43/a,1[]", "41/a,", r#"451-/a,["x",{"_placeholder":true,"num":0}]"#]
    {
        assert_eq!((world.client(late), world.ended()), (Fate::Drop, None), "{late}");
    }
    assert_eq!((world.attaches(b"x"), world.ended()), (Fate::Drop, None));
    assert_eq!(world.service_got(), [""; 0]);
    assert_eq!(world.client(r#"42["x"]"#), Fate::Pass);
    assert_eq!(world.users(), ["ada"]);

    // A namespace that the client was never in is another thing.
    assert_eq!(world.enters("/a", "bob", HOUR), None, "it may come back");
    world.client(r#"42/never,["x"]"#);
    assert_eq!(world.ended(), Some(Ended::ClientPacket("namespace_not_joined")));
}

#[test]
fn a_namespace_that_is_still_asked_for_is_refused_when_its_token_expires() {
    let mut world = World::new(many);
    world.enters("/", "ada", HOUR);
    let token = world.token_of("bob", Duration::from_secs(10));
    world.client(&format!(r#"40/a,{{"token":"{token}"}}"#));
    world.forget_what_was_said();
    world.passes(Duration::from_secs(10));
    let error = r#"44/a,{"message":"Invalid authentication token","data":{"code":"auth.expired"}}"#;
    assert_eq!(world.client_got(), [error]);
    world.service(r#"40/a,{"sid":"late"}"#);
    assert_eq!((world.client_got(), world.ended()), (Vec::new(), None));
}

#[test]
fn the_session_ends_with_the_last_token() {
    let mut world = World::new(many);
    world.enters("/", "ada", Duration::from_secs(5));
    world.enters("/a", "bob", Duration::from_secs(10));
    world.passes(Duration::from_secs(5));
    assert_eq!((world.ended(), world.view().identity().and_then(|identity| identity.user())), (None, Some("bob")));
    world.passes(Duration::from_secs(5));
    assert_eq!(world.ended(), Some(Ended::TokenExpired));

    // Without a namespace it ends with the last token that was shown.
    let mut world = World::new(many);
    world.enters("/", "ada", Duration::from_secs(5));
    world.enters("/a", "bob", Duration::from_secs(10));
    world.client("41");
    world.client("41/a,");
    world.passes(Duration::from_secs(5));
    assert_eq!(world.ended(), None);
    world.passes(Duration::from_secs(5));
    assert_eq!(world.ended(), Some(Ended::TokenExpired));
}

#[test]
fn an_expired_user_is_nobody_to_lean_on() {
    let mut world = World::new(|config| config.auth.optional_namespaces = vec!["/admin".to_owned()]);
    assert_eq!(world.enters("/admin", "", HOUR), None);
    assert_eq!(world.enters("/", "", HOUR), Some("auth.missing"), "a guest is a guest there alone");
    assert_eq!(world.enters("/", "ada", Duration::from_secs(5)), None);
    assert_eq!(world.enters("/a", "", HOUR), None, "until the same moment");
    world.passes(Duration::from_secs(5));
    let mut left = world.client_got();
    left.sort();
    assert_eq!((left, world.ended()), (vec!["41".to_owned(), "41/a,".to_owned()], None));
    assert_eq!(world.enters("/a", "", HOUR), Some("auth.expired"));
    assert_eq!(world.enters("/a", "bob", HOUR), Some("auth.other_user"));
    assert_eq!(world.enters("/a", "ada", HOUR), None);
}

#[test]
fn a_token_that_is_shown_beside_prolongs_all_namespaces_of_its_user() {
    let mut world = World::new(many);
    world.enters("/", "ada", Duration::from_secs(5));
    world.enters("/a", "bob", Duration::from_secs(5));
    let (renewed, eve) = (shown(&world.token(HOUR)), shown(&world.token_of("eve", HOUR)));
    assert_eq!(world.session.shows(&renewed, world.now), Ok(()));
    assert_eq!(world.session.shows(&eve, world.now), Err(AuthError::Refused(OTHER_USER)));
    let shorter = shown(&world.token(Duration::from_secs(1)));
    assert_eq!(world.session.shows(&shorter, world.now), Ok(()), "it is the same user");
    world.passes(Duration::from_secs(5));
    assert_eq!((world.ended(), world.client_got()), (None, vec!["41/a,".to_owned()]));
    assert_eq!(world.client(r#"42["x"]"#), Fate::Pass);
}

#[test]
fn a_guest_whose_next_request_shows_a_token_connects_again_as_its_user() {
    let mut world = World::without_auth(|_| ());
    world.enters("/", "", HOUR);
    let token = shown(&world.token(HOUR));
    assert_eq!(world.session.shows(&token, world.now), Ok(()));
    assert_eq!(world.enters("/a", "", HOUR), None);
    assert_eq!(world.users(), ["ada"]);
}

#[test]
fn a_session_of_several_users_goes_on_as_its_snapshot() {
    let mut world = World::new(|config| {
        many(config);
        config.session.resume = Period(HOUR);
    });
    world.enters("/", "ada", Duration::from_secs(60));
    world.enters("/a", "bob", HOUR);
    world.event(Event::Lost(Ended::ClientLost));
    world.event(Event::Lost(Ended::ServiceLost));
    let mut continued = world.continued().expect("both sides are gone");
    assert_eq!(continued.users(), ["ada", "bob"]);
    continued.passes(Duration::from_secs(29));
    assert_eq!((continued.users(), continued.note.clone()), (vec!["ada".to_owned(), "bob".to_owned()], Note::None));
}
