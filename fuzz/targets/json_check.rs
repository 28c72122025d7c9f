//! The JSON of a packet: cuts do not change the answer, serde_json takes the same in full, and the structure of JSON is
//! never refused.
#![no_main]

use std::iter;

use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use tidegate::wire::json::{
    check::{DEPTH_MAX, JsonBounds, JsonCheck, JsonFault, JsonReading},
    placeholders::check_placeholders,
};
use tidegate_fuzz::Input;

fuzz_target!(|data: &[u8]| {
    let Some(input) = Input::new(data) else { return };
    let levels = u32::from(input.options) % DEPTH_MAX + 1;
    let check = |reading| {
        let bounds = JsonBounds::new(reading, levels).expect("it is within the bounds");
        let whole = checked(bounds, iter::once(input.bytes));
        assert_eq!(checked(bounds, input.pieces(input.bytes)), whole);
        assert_eq!(bounds.check(input.bytes), whole);
        whole
    };
    let (structure, full) = (check(JsonReading::Structure), check(JsonReading::Full));
    assert!(structure.is_ok() || full.is_err());

    // Blanks behind it belong to JSON.
    let is_bare = input.bytes.first().is_some_and(|first| b"[{".contains(first));
    let Ok(text) = str::from_utf8(input.bytes) else { return };
    if is_bare && full != Err(JsonFault::TooDeep) {
        assert_eq!(full.is_ok(), serde_json::from_str::<&RawValue>(text).is_ok());
    }
    if check_placeholders(input.bytes, input.options).is_ok() {
        assert!(!is_bare || full.is_ok() || full == Err(JsonFault::TooDeep));
    }
});

fn checked<'a>(bounds: JsonBounds, mut pieces: impl Iterator<Item = &'a [u8]>) -> Result<(), JsonFault> {
    let mut check = JsonCheck::new(bounds);
    pieces.try_for_each(|piece| check.feed(piece))?;
    check.finish()
}
