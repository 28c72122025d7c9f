//! Offsets of connection state recovery: the last argument of an event, where the service numbers its events.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How far the clocks of the service and this machine may differ.
const CLOCKS_DIFFER: Duration = Duration::from_hours(24);

/// The digits of a yeast (socket.io-adapter, `contrib/yeast.ts`), which is a time in base 64.
const YEAST: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";

/// The offset of an event: its last argument, where that is a string without escapes.
pub(super) fn offset_of(json: &[u8]) -> Option<&str> {
    let arguments = json.strip_suffix(b"\"]")?;
    let begin = arguments.iter().rposition(|&byte| byte == b'"')? + 1;
    let offset = std::str::from_utf8(&arguments[begin..]).ok()?;
    // The first string of an event is its name.
    let is_argument = arguments[..begin - 1].last() == Some(&b',');
    (is_argument && offset.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))).then_some(offset)
}

/// The event without its offset, and the offset. `None`: it has none. An event that is volatile has none, even where the service
/// numbers its events, so the last string must look like one that was made now.
pub(super) fn without_offset(json: &[u8], now: SystemTime) -> Option<(Vec<u8>, &str)> {
    let offset = offset_of(json).filter(|offset| is_made_now(offset, now))?;
    // Its comma, its quotes, and the end of the array.
    let arguments = json.len().checked_sub(offset.len() + 4)?;
    Some(([&json[..arguments], b"]"].concat(), offset))
}

/// Whether an adapter of Socket.IO has made this offset about now: in memory, with Redis streams, with MongoDB.
fn is_made_now(offset: &str, now: SystemTime) -> bool {
    let since_1970 = yeast(offset).or_else(|| stream_id(offset)).or_else(|| object_id(offset));
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    since_1970.is_some_and(|made| made.abs_diff(now) <= CLOCKS_DIFFER)
}

/// `Q86E9hm`, and `Q86E9hm.0` for the next one of the same millisecond.
fn yeast(offset: &str) -> Option<Duration> {
    let (time, count) = offset.split_once('.').map_or((offset, None), |(time, count)| (time, Some(count)));
    // 64^7 ms is the year 2109.
    let is_one = time.len() == 7 && count.is_none_or(|count| (1..=7).contains(&count.len()));
    let digit = |byte: u8| YEAST.iter().position(|&digit| digit == byte).and_then(|at| u64::try_from(at).ok());
    let number = |text: &str| text.bytes().try_fold(0_u64, |number, byte| Some(number << 6 | digit(byte)?));
    let counts = count.is_none_or(|count| number(count).is_some());
    number(time).filter(|_| is_one && counts).map(Duration::from_millis)
}

/// `1700000000000-0`, the id of an entry of a stream.
fn stream_id(offset: &str) -> Option<Duration> {
    let (time, count) = offset.split_once('-')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(time) && digits(count)).then(|| time.parse().ok().map(Duration::from_millis))?
}

/// 24 hexadecimal digits, the first eight of which are seconds.
fn object_id(offset: &str) -> Option<Duration> {
    let is_one = offset.len() == 24 && offset.bytes().all(|byte| byte.is_ascii_hexdigit());
    let secs = u64::from_str_radix(offset.get(..8)?, 16).ok()?;
    is_one.then(|| Duration::from_secs(secs))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(ms)
    }

    fn yeast_at(mut ms: u64) -> String {
        let mut digits = Vec::new();
        while ms > 0 {
            digits.insert(0, YEAST[usize::try_from(ms % 64).unwrap()]);
            ms /= 64;
        }
        String::from_utf8(digits).unwrap()
    }

    #[test]
    fn the_last_string_of_an_event_is_its_offset_where_that_was_made_now() {
        const NOW: u64 = 1_795_951_239_123;
        let yeast = yeast_at(NOW - 5);
        let secs = NOW / 1000;
        let (counted, stream, object) =
            (format!("{yeast}.0"), format!("{NOW}-12"), format!("{secs:x}0123456789abcdef"));
        for offset in [&yeast, &counted, &stream, &object] {
            let json = format!(r#"["n",{{"a":["x"]}},"{offset}"]"#);
            let expected = (br#"["n",{"a":["x"]}]"#.to_vec(), offset.as_str());
            assert_eq!(without_offset(json.as_bytes(), at(NOW)), Some(expected));
            assert_eq!(without_offset(json.as_bytes(), at(NOW + 90_000_000)), None, "{offset} is of another day");
        }
        let other = [r#"["n","chapter"]"#, r#"["n","ada"]"#, r#"["n","7-0"]"#, r#"["n",7]"#, r#"["n",""]"#];
        for json in other.map(str::to_owned).into_iter().chain([format!(r#"["{yeast}"]"#)]) {
            assert_eq!(without_offset(json.as_bytes(), at(NOW)), None, "{json}");
        }
    }

    #[test]
    fn the_captured_offset_of_an_adapter_in_memory_is_read() {
        // socket.io-adapter 2.5.8: two broadcasts of one millisecond.
        assert_eq!(offset_of(br#"["n",2,"Q86E9hm"]"#), Some("Q86E9hm"));
        assert_eq!(offset_of(br#"["n",2,"Q86E9hm.0"]"#), Some("Q86E9hm.0"));
        assert_eq!(yeast("Q86E9hm"), yeast("Q86E9hm.0"));
        assert!(yeast("Q86E9hm").is_some());
    }
}
