//! JSON, as little of it as the gate must read: one field of an object, by a scanner that is bounded and keeps nothing.

pub(in crate::wire) mod string;
