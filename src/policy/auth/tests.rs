//! Tokens good and bad against keys of every kind. `support` mints them, `tokens` and `compile` judge.

mod compile;
pub(super) mod support;
mod tokens;
