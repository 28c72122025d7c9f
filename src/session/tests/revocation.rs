//! What is revoked while a session is open, and what its client hears.

use std::time::Duration;

use serde_json::json;

use super::{refused, world::World};
use crate::{
    config::Config,
    policy::{
        auth::{
            UsersPerConnection,
            revoked::{Revocation, Whom, unix_seconds},
        },
        token_fault::TokenFault,
    },
    session::{action::Action, ended::Ended, event::Event, plain::PlainRules},
    units::Period,
};

fn many(config: &mut Config) {
    config.auth.users_per_connection = UsersPerConnection::Many;
}

fn token_named(jti: &str) -> Whom {
    Whom::Token(jti.into())
}

impl World {
    fn now_secs(&self) -> u64 {
        unix_seconds(self.now.wall())
    }

    /// A CONNECT with a token of this name, which was issued now and is good for a minute.
    fn connects(&mut self, namespace: &str, user: &str, jti: &str) {
        let now = self.now_secs();
        let token = self.signed(&json!({ "sub": user, "jti": jti, "iat": now, "exp": now + 60 }));
        self.client(&format!(r#"40{namespace}{{"token":"{token}"}}"#));
    }

    /// The same, let in by the service as a socket with this id.
    fn joins(&mut self, namespace: &str, user: &str, jti: &str, socket: &str) {
        let is_first = self.view().identity().is_none();
        self.connects(namespace, user, jti);
        if is_first {
            self.opens();
        }
        self.service(&format!(r#"40{namespace}{{"sid":"{socket}"}}"#));
        self.forget_what_was_said();
    }

    fn user_now(&self, name: &str) -> Whom {
        Whom::User { name: name.into(), at: self.now_secs() }
    }
}

#[test]
fn a_session_ends_with_its_token_or_its_user_and_others_do_not() {
    let mut world = World::new(|_| ());
    world.joins("", "ada", "one", "s");
    for other in [token_named("two"), world.user_now("bob"), Whom::Socket("t".into())] {
        assert_eq!((world.revokes(other), world.ended()), (None, None));
    }
    assert_eq!(world.revokes(token_named("one")), Some(vec![]));
    assert_eq!(world.ended(), Some(Ended::TokenRevoked));
    assert_eq!(world.revokes(token_named("one")), None, "it is over");

    let mut world = World::new(|_| ());
    world.joins("", "ada", "one", "s");
    world.revokes(world.user_now("ada"));
    assert_eq!(world.ended(), Some(Ended::TokenRevoked));
}

#[test]
fn who_shows_a_revoked_token_hears_that_and_is_let_in_with_a_later_one() {
    let mut world = World::new(|_| ());
    world.revokes(world.user_now("ada"));
    world.connects("", "ada", "one");
    assert_eq!(refused(&world).map(|(code, _)| code), Some("auth.revoked"));
    let error = r#"44{"message":"Invalid authentication token","data":{"code":"auth.revoked"}}"#;
    assert_eq!(world.client_got(), [error]);
    world.passes(Duration::from_secs(1));
    world.connects("", "ada", "two");
    assert_eq!(refused(&world), None, "it was issued after the revocation");
}

#[test]
fn of_several_users_one_leaves_and_does_not_come_back_without_a_token() {
    let mut world = World::new(many);
    world.joins("", "ada", "one", "s");
    world.joins("/b,", "bob", "two", "t");
    world.forget_what_was_said();
    world.revokes(token_named("one"));
    assert_eq!(world.ended(), None);
    assert_eq!(world.done(), [Action::PutOut(TokenFault::Revoked)]);
    assert_eq!((world.client_got(), world.service_got()), (vec!["41".to_owned()], vec!["41".to_owned()]));
    world.connects("", "ada", "one");
    assert_eq!(refused(&world).map(|(code, _)| code), Some("auth.revoked"));
    world.client("41/b,");
    world.client("40");
    assert_eq!(refused(&world).map(|(code, _)| code), Some("auth.revoked"), "she is the first who was known");
}

#[test]
fn with_a_socket_goes_the_token_that_has_opened_it() {
    let mut world = World::new(many);
    world.joins("", "ada", "one", "s");
    world.joins("/b,", "bob", "two", "t");
    let until = world.now_secs() + 61;
    assert_eq!(world.revokes(Whom::Socket("t".into())), Some(vec![Revocation { whom: token_named("two"), until }]));
    assert_eq!((world.ended(), world.client_got()), (None, vec!["41/b,".to_owned()]));
    world.connects("/b,", "bob", "two");
    assert_eq!(refused(&world), None, "that is for the relay to revoke");

    let mut world = World::new(|_| ());
    world.connects("", "ada", "one");
    world.opens();
    let token = world.token(Duration::from_secs(60));
    world.client(&format!(r#"40/b,{{"token":"{token}"}}"#));
    world.service(r#"40/b,{"sid":"t"}"#);
    assert!(world.revokes(Whom::Socket("t".into())).is_some());
    assert_eq!(world.ended(), None, "it is in another namespace still");
}

#[test]
fn of_two_tokens_of_one_user_each_takes_its_own_namespace_with_it() {
    let mut world = World::new(|_| ());
    world.joins("", "ada", "one", "s");
    world.joins("/b,", "ada", "two", "t");
    world.revokes(token_named("one"));
    assert_eq!((world.ended(), world.client_got()), (None, vec!["41".to_owned()]));
    world.revokes(token_named("two"));
    assert_eq!(world.ended(), Some(Ended::TokenRevoked));
}

#[test]
fn without_revocation_nothing_is_kept_of_a_token_for_it() {
    let mut world = World::new(|config| config.auth.revoke = false);
    world.joins("", "ada", "one", "s");
    assert_eq!(world.view().identity().unwrap().details(), None);
}

#[test]
fn a_client_that_is_absent_does_not_come_back() {
    let mut world = World::new(|config| config.session.resume = Period::from_secs(60));
    world.joins("", "ada", "one", "s");
    world.event(Event::Lost(Ended::ClientLost));
    assert_eq!(world.ended(), None);
    world.revokes(world.user_now("ada"));
    assert_eq!(world.ended(), Some(Ended::TokenRevoked));
}

#[test]
fn a_plain_session_ends_too() {
    let mut world = World::plain(PlainRules::default(), |config| config.auth.required = false);
    assert_eq!(world.revokes(world.user_now("ada")), None, "it is that of a guest");
    assert_eq!(world.ended(), None);
}

#[test]
fn a_revocation_ends_when_no_token_is_good_any_more() {
    let mut world = World::new(|_| ());
    world.revokes(token_named("one"));
    world.passes(Duration::from_secs(3599));
    world.connects("", "ada", "one");
    assert_eq!(refused(&world).map(|(code, _)| code), Some("auth.revoked"));
    world.passes(Duration::from_secs(1));
    world.connects("", "ada", "one");
    assert_eq!(refused(&world), None);
}

#[test]
fn a_session_that_is_continued_on_another_node_has_no_revoked_token() {
    let mut world = World::new(|config| config.session.resume = Period::from_secs(60));
    world.joins("", "ada", "one", "s");
    world.event(Event::Lost(Ended::ClientLost));
    world.loses(Ended::ServiceLost);
    let continued = world.continued().unwrap();
    assert_eq!(continued.ended(), None);
    world.revoked_meanwhile(token_named("one"));
    assert_eq!(world.continued().unwrap().ended(), Some(Ended::TokenRevoked));
}
