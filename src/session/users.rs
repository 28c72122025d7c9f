//! The users of one session: nearly always one. In a session of several each has namespaces of its own.

use std::{net::IpAddr, sync::Arc};

use crate::{
    policy::{
        identity::{Details, Identity},
        policies::Policies,
        rate_limit::Meters,
    },
    session::{
        namespaces::Login,
        now::{Deadline, Now, later},
    },
};

/// One user, who may be a guest: a client without a token.
#[derive(Debug)]
struct User {
    identity: Identity,
    meters: Meters,
    /// When the last token of this user expires. `None`: never.
    expires: Option<Deadline>,
}

/// The users of a session by number, in the order of their first namespace.
#[derive(Debug)]
pub(super) struct Users {
    first: User,
    others: Vec<User>,
    is_known: bool,
    /// What the guest has used was charged to a user, and the guest has had no namespace since.
    is_charged: bool,
}

impl Users {
    /// Nobody is known yet.
    pub(super) fn unknown(policies: &Policies, peer: IpAddr, now: Now) -> Self {
        let identity = Identity::anonymous();
        let meters = policies.open_meters(&identity, peer, now.instant);
        Self { first: User { identity, meters, expires: None }, others: Vec::new(), is_known: false, is_charged: false }
    }

    /// Whether a namespace was opened, or the handshake of a plain route has told who the client is.
    pub(super) const fn are_known(&self) -> bool {
        self.is_known
    }

    /// Whether there has been more than one.
    #[inline]
    pub(super) const fn are_several(&self) -> bool {
        !self.others.is_empty()
    }

    /// By number. `None`: there is none of this number.
    pub(super) fn get(&self, user: u8) -> Option<&Identity> {
        self.user(user).filter(|_| self.is_known).map(|user| &user.identity)
    }

    /// What is kept of the token of a user, of several the one that is good for longest. `None`: nothing.
    pub(super) fn token(&self, user: u8) -> Option<&Arc<Details>> {
        self.get(user)?.details()
    }

    /// All of them, with their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u8, &Identity)> {
        let known = self.is_known.then_some(&self.first).into_iter().chain(&self.others);
        (0..).zip(known.map(|user| &user.identity))
    }

    /// The number of the user with this name, or of the guest.
    pub(super) fn find(&self, name: Option<&str>) -> Option<u8> {
        self.iter().find(|(_, identity)| identity.user() == name).map(|(number, _)| number)
    }

    /// Whether one has a name.
    pub(super) fn have_name(&self) -> bool {
        self.iter().any(|(_, identity)| identity.user().is_some())
    }

    /// Whether this user may have a namespace in a session of `many` users, or of one, who may have begun as a guest.
    pub(super) fn admit(&self, identity: &Identity, many: bool) -> bool {
        many || identity.user().is_none() || !self.have_name() || self.find(identity.user()).is_some()
    }

    /// What this user has used of the limits.
    #[inline]
    pub(super) fn meters(&self, user: u8) -> &Meters {
        match usize::from(user).checked_sub(1) {
            None => &self.first.meters,
            Some(at) => self.others.get(at).map_or(&self.first.meters, |user| &user.meters),
        }
    }

    /// When the last token of this user expires. `None`: never.
    pub(super) fn expires(&self, user: u8) -> Option<Deadline> {
        self.user(user).and_then(|user| user.expires)
    }

    /// When the last token of any user expires. `None`: never.
    pub(super) fn all_expire(&self) -> Option<Deadline> {
        self.others.iter().fold(self.first.expires, |last, user| later(last, user.expires))
    }

    /// This user has a namespace from now on. `in_use` tells which numbers have one already. A guest who has none is the user
    /// from now on: what the guest has used counts.
    pub(super) fn enter(
        &mut self,
        identity: Identity,
        in_use: impl Fn(u8) -> bool,
        policies: &Policies,
        peer: IpAddr,
        now: Now,
    ) -> Login {
        let expires = identity.expires_at().map(|end| Deadline::at(end, now));
        if !self.is_known {
            self.is_known = true;
            let meters = policies.open_meters(&identity, peer, now.instant);
            self.first = User { identity, meters, expires };
            return Login { user: 0, expires };
        }
        let (guest, is_named) = (self.find(None), identity.user().is_some());
        let user = self.find(identity.user());
        let user = match user {
            Some(user) => {
                self.renew(user, identity, now);
                user
            }
            None => self.add(identity, expires, &in_use, policies, now),
        };
        if !is_named {
            self.is_charged = false;
        } else if let Some(guest) = guest.filter(|guest| !self.is_charged && !in_use(*guest)) {
            self.is_charged = true;
            policies.rate_limits.charge(self.meters(guest), self.meters(user), now.instant);
        }
        Login { user, expires }
    }

    fn add(
        &mut self,
        identity: Identity,
        expires: Option<Deadline>,
        in_use: impl Fn(u8) -> bool,
        policies: &Policies,
        now: Now,
    ) -> u8 {
        let meters = policies.rate_limits.open_beside(&mut self.first.meters, identity.user(), now.instant);
        let user = User { identity, meters, expires };
        // A user without a namespace is forgotten for another one, but the first and a guest, whose allowance is the session's.
        let is_free = |(number, user): (u8, &User)| user.identity.user().is_some() && !in_use(number);
        let free = (1..).zip(&self.others).position(is_free);
        let at = free.unwrap_or(self.others.len());
        match self.others.get_mut(at) {
            Some(place) => *place = user,
            None => self.others.push(user),
        }
        u8::try_from(at + 1).unwrap_or(u8::MAX)
    }

    /// A token of this user was shown. The one that is good for longer counts.
    pub(super) fn renew(&mut self, user: u8, identity: Identity, now: Now) {
        let shown = identity.expires_at().map(|end| Deadline::at(end, now));
        let Some(user) = self.user_mut(user) else { return };
        let last = later(user.expires, shown);
        if last == shown {
            (user.identity, user.expires) = (identity, last);
        }
    }

    /// Counts anew by other policies.
    pub(super) fn adopt(&mut self, policies: &Policies, peer: IpAddr, now: Now) {
        self.first.meters = policies.open_meters(&self.first.identity, peer, now.instant);
        for user in &mut self.others {
            user.meters = policies.rate_limits.open_beside(&mut self.first.meters, user.identity.user(), now.instant);
        }
    }

    /// The client has another address, whose limits count from now on.
    pub(super) fn moved(&mut self, policies: &Policies, peer: IpAddr, now: Now) {
        let all = std::iter::once(&mut self.first).chain(&mut self.others);
        all.for_each(|user| policies.rate_limits.moved(&mut user.meters, peer, now.instant));
    }

    /// Takes note of what the wall clock shows.
    pub(super) fn keep_time(&mut self, now: Now) {
        let all = std::iter::once(&mut self.first).chain(&mut self.others);
        all.filter_map(|user| user.expires.as_mut()).for_each(|expires| expires.keep_time(now));
    }

    /// Each of them, with when its last token expires, and what is left of the budgets that count its session alone, which is
    /// used up.
    pub(super) fn save(
        &self,
        policies: &Policies,
        now: Now,
    ) -> impl Iterator<Item = (&Identity, Option<Deadline>, Vec<Option<u32>>)> {
        let all = std::iter::once(&self.first).chain(&self.others);
        all.map(move |user| (&user.identity, user.expires, policies.rate_limits.use_up(&user.meters, now.instant)))
    }

    /// Those that were [saved](Self::save). `None`: there is none.
    pub(super) fn load(
        saved: Vec<(Identity, Vec<Option<u32>>)>,
        policies: &Policies,
        peer: IpAddr,
        now: Now,
    ) -> Option<Self> {
        let mut saved = saved.into_iter();
        let (identity, left) = saved.next()?;
        let limits = &policies.rate_limits;
        let expires = |identity: &Identity| identity.expires_at().map(|end| Deadline::at(end, now));
        let mut meters = limits.continued(identity.user(), peer, &left, now.instant);
        let mut others = Vec::with_capacity(saved.len());
        for (identity, left) in saved {
            let meters = limits.continued_beside(&mut meters, identity.user(), &left, now.instant);
            others.push(User { expires: expires(&identity), identity, meters });
        }
        Some(Self {
            first: User { expires: expires(&identity), identity, meters },
            others,
            is_known: true,
            is_charged: false,
        })
    }

    fn user(&self, user: u8) -> Option<&User> {
        usize::from(user).checked_sub(1).map_or(Some(&self.first), |at| self.others.get(at))
    }

    fn user_mut(&mut self, user: u8) -> Option<&mut User> {
        usize::from(user).checked_sub(1).map_or(Some(&mut self.first), |at| self.others.get_mut(at))
    }
}
