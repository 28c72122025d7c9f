//! The JSON of a client's CONNECT for one namespace: that by which the service has let it in, and that by which it is asked next.

use std::mem;

use zeroize::Zeroizing;

use crate::session::queue::allocated;

/// The JSON of one CONNECT, which may hold the client's token.
#[derive(Default)]
pub(super) struct SaidConnect {
    let_in: Zeroizing<Vec<u8>>,
    /// With this the client has come back since. `None`: it is the same.
    again: Option<Zeroizing<Box<[u8]>>>,
    /// The service is being asked with that.
    asks_again: bool,
}

impl SaidConnect {
    /// The service is asked with this JSON first.
    pub(super) const fn new(json: Zeroizing<Vec<u8>>) -> Self {
        Self { let_in: json, again: None, asks_again: false }
    }

    /// That by which the service has let the client in, or is asked first.
    pub(super) const fn let_in(&self) -> &Zeroizing<Vec<u8>> {
        &self.let_in
    }

    /// That which the client has said last, by which the service is asked.
    pub(super) fn last(&self) -> &[u8] {
        self.again.as_ref().map_or(&self.let_in, |again| again)
    }

    /// The client has come back with this JSON, which the service has yet to hear.
    pub(super) fn comes_back(&mut self, json: &[u8]) {
        self.again = (self.let_in[..] != *json).then(|| Zeroizing::new(json.into()));
        self.asks_again = false;
    }

    /// The service is asked with the [last](Self::last) one.
    pub(super) const fn asked(&mut self) {
        self.asks_again = self.again.is_some();
    }

    /// The service has let the client in with that by which it was asked.
    pub(super) fn answered(&mut self) {
        if let Some(again) = self.again.take_if(|_| mem::take(&mut self.asks_again)) {
            self.let_in = Zeroizing::new(again.to_vec());
        }
    }

    /// How many bytes the client has come back with.
    pub(super) fn len_again(&self) -> usize {
        self.again.as_ref().map_or(0, |again| again.len())
    }

    /// How many bytes of JSON are kept.
    pub(super) fn len(&self) -> usize {
        self.let_in.len() + self.len_again()
    }

    /// What they take in memory.
    pub(super) fn memory(&self) -> usize {
        allocated(self.let_in.capacity()) + self.again.as_ref().map_or(0, |again| allocated(again.len()))
    }
}
