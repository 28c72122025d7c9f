//! What no single table can tell, and what works but may not be meant.

use super::{error::Warning, model::Config};
use crate::fault::{Fault, Faults};

/// A client may be sent this much at once, whatever `limits.send_buffer` says.
const SEND_BUFFER_MIN: u64 = 64 * 1024;

impl Config {
    /// Do the tables that nothing is compiled from hold, and do all tables go together?
    ///
    /// # Errors
    /// Each key that cannot be put into effect beside the others.
    pub fn check(&self) -> Result<(), Vec<Fault>> {
        let mut faults = Faults::default();
        let (listen, admin) = (self.listen.address, self.admin.address);
        if listen == admin && listen.port() != 0 {
            faults.add("admin.address", format!("is {admin}, as listen.address; give the operator another port"));
        }
        faults.keep(self.limits.check());
        if self.limits.send_buffer.0 < self.socketio.max_payload.0.min(SEND_BUFFER_MIN) {
            let message = format!("is {}; it must be at least \"64KiB\"", self.limits.send_buffer);
            faults.add("limits.send_buffer", message);
        }
        faults.keep(self.metrics.check());
        for certified in self.tls.iter().flat_map(|tls| tls.forward_client.keys()) {
            if self.auth.forward_claims.keys().any(|claimed| claimed.eq_ignore_ascii_case(certified)) {
                let message = "is in auth.forward_claims too; give one of them another name";
                faults.add(format!("tls.forward_client.{certified}"), message);
            }
        }
        faults.finish(Some(()))
    }

    /// What works, and may not be meant.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let open_origin = self.origins.allow.iter().any(|origin| origin == "*");
        let trusts_all = self.listen.trusted_proxies.iter().any(|network| network.prefix_len() == 0);
        let no_sessions = !self.admin.address.ip().is_loopback() && self.admin.token.is_none();
        let all = [
            (!self.auth.required, "auth.required", "is false: sessions without a token are let in"),
            (
                self.auth.allow_weak_secret,
                "auth.allow_weak_secret",
                "is true: a short secret can be guessed from a token; not for production",
            ),
            (open_origin, "origins.allow", "has \"*\": every web page may connect as its visitor"),
            (
                trusts_all,
                "listen.trusted_proxies",
                "trusts every address: clients can claim any address in X-Forwarded-For",
            ),
            (no_sessions, "admin.address", "is not loopback and there is no admin.token: /sessions is off"),
        ];
        let found = all.into_iter().filter(|(found, ..)| *found);
        found.map(|(_, key, message)| Warning { key, message }).collect()
    }
}
