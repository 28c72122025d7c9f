//! The event that a message of a plain route names: it is the one that serde_json finds, and text and binary say the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value, value::RawValue};
use tidegate::wire::json::event::{NamedEvent, Unreadable, event_in_binary, event_in_text};

const FIELD: &str = "type";

fuzz_target!(|message: &[u8]| {
    let (text, binary) = (event_in_text(message, FIELD), event_in_binary(message, FIELD));
    if let Ok(NamedEvent::One(_)) | Err(Unreadable::TooDeep | Unreadable::Repeated) = binary {
        assert_eq!(text, binary);
    }
    let Ok(json) = str::from_utf8(message) else { return };
    // Whatever JSON names, is found or counts in every limit.
    let Ok(object) = serde_json::from_str::<Map<String, Value>>(json) else {
        // It refuses some numbers and strings for what they say, not for how they are written.
        let is_written_well = serde_json::from_str::<&RawValue>(json).is_ok();
        assert!(is_written_well || !matches!(text, Ok(NamedEvent::One(_))));
        return;
    };
    match (&text, object.get(FIELD)) {
        (Ok(NamedEvent::One(name)), Some(Value::String(said))) => assert_eq!(name.as_str(), said),
        (Ok(NamedEvent::None), None | Some(Value::Null)) => {}
        (Ok(NamedEvent::Unclear) | Err(Unreadable::TooDeep | Unreadable::Repeated), _) => {}
        (read, said) => panic!("{read:?} where {said:?} is said"),
    }
    assert_eq!(text, binary);
});
