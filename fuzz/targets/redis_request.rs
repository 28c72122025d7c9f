//! Requests on Redis: in JSON they say what serde_json reads, and the same request in MessagePack is read alike.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value, value::RawValue};
use tidegate::wire::redis_adapter::{
    malformed::Malformed,
    request::{Request, Sockets},
};

fuzz_target!(|data: &[u8]| {
    let read = Request::decode(data);
    let Ok(object) = serde_json::from_slice::<Map<String, Value>>(data) else {
        // It refuses some numbers, strings and depths for what they say, not for how they are written.
        let is_written_well = serde_json::from_slice::<&RawValue>(data).is_ok();
        assert!(read.is_err() || data.first() != Some(&b'{') || is_written_well);
        return;
    };
    let Ok(request) = read else { return };
    let number = object["type"].as_u64();
    let (sockets, rooms) = match &request {
        Request::Join(sockets, rooms) => (number == Some(2)).then_some((sockets, rooms.len())),
        Request::Leave(sockets, rooms) => (number == Some(3)).then_some((sockets, rooms.len())),
        Request::Disconnect(sockets, closes) => {
            assert_eq!(*closes, object.get("close") == Some(&Value::Bool(true)));
            (number == Some(4)).then_some((sockets, 0))
        }
        Request::ServerSideEmit => return assert_eq!(number, Some(6)),
        Request::Question => return assert!(matches!(number, Some(0 | 1 | 5 | 7..=9))),
    }
    .expect("it is what its type says");
    assert_says(&object, sockets, rooms);

    let packed = rmp_serde::to_vec(&object).expect("it can be written");
    match Request::decode(&packed) {
        Ok(again) => assert_eq!(again, request),
        // Of the members that have no meaning JSON is not read.
        Err(rule) => assert_eq!(rule, Malformed::Request),
    }
});

fn assert_says(object: &Map<String, Value>, sockets: &Sockets, rooms: usize) {
    let len = |list: Option<&Value>| list.and_then(Value::as_array).map_or(0, Vec::len);
    match object.get("opts").filter(|opts| !opts.is_null()) {
        Some(opts) => {
            assert_eq!(sockets.rooms.len(), len(opts.get("rooms")));
            assert_eq!(sockets.except.len(), len(opts.get("except")));
            assert!(rooms == 0 || rooms == len(object.get("rooms")));
        }
        None => assert_eq!((sockets.rooms.len(), sockets.except.len()), (1, 0)),
    }
}
