//! Valid and invalid tokens against keys of every kind. `support` makes them, `tokens` and `compile` check them.

mod compile;
mod identities;
mod reasons;
pub(super) mod support;
mod tokens;
