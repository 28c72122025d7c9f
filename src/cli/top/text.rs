//! Figures and names as the screen shows them.

use ratatui_core::text::Span;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// What stands where something is not known.
pub(super) const UNKNOWN: &str = "-";

/// How many cells of the screen it takes.
pub(super) fn width_of(text: &str) -> usize {
    Span::raw(text).width()
}

/// `1,204`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count that may be unknown.
pub(super) fn count_or_unknown(number: Option<u64>) -> String {
    number.map_or_else(|| UNKNOWN.to_owned(), count)
}

/// In four characters or five: `0`, `3.1`, `204`, `1.2k`, `12k`, `3.4M`.
pub(super) fn short(number: f64) -> String {
    let scaled = |by: f64, unit: &str| {
        let scaled = number / by;
        if scaled < 9.95 { format!("{scaled:.1}{unit}") } else { format!("{scaled:.0}{unit}") }
    };
    match number {
        _ if number < 0.05 => "0".to_owned(),
        _ if number < 999.5 => scaled(1.0, ""),
        _ if number < 999_500.0 => scaled(1e3, "k"),
        _ if number < 999_500_000.0 => scaled(1e6, "M"),
        _ => scaled(1e9, "G"),
    }
}

/// As [`short`], of what has no tenths: `3`, `204`, `1.2k`.
pub(super) fn short_whole(number: f64) -> String {
    if number < 999.5 { format!("{number:.0}") } else { short(number) }
}

/// A rate that may be unknown.
pub(super) fn short_or_unknown(number: Option<f64>) -> String {
    number.map_or_else(|| UNKNOWN.to_owned(), short)
}

/// Milliseconds without their unit: `0.4`, `8.1`, `120`.
pub(super) fn millis(number: f64) -> String {
    if number < 9.95 { format!("{number:.1}") } else { format!("{number:.0}") }
}

/// The two largest units: `45s`, `12m 3s`, `2h 5m`, `3d 4h`.
pub(super) fn span(seconds: u64) -> String {
    let two = |large: u64, unit: &str, small: u64, below: &str| {
        let rest = seconds % large / small;
        let first = format!("{}{unit}", seconds / large);
        if rest == 0 { first } else { format!("{first} {rest}{below}") }
    };
    match seconds {
        0..MINUTE => format!("{seconds}s"),
        MINUTE..HOUR => two(MINUTE, "m", 1, "s"),
        HOUR..DAY => two(HOUR, "h", MINUTE, "m"),
        _ => two(DAY, "d", HOUR, "h"),
    }
}

/// The largest unit alone.
pub(super) fn short_span(seconds: u64) -> String {
    let whole = match seconds {
        0..MINUTE => seconds,
        MINUTE..HOUR => seconds - seconds % MINUTE,
        HOUR..DAY => seconds - seconds % HOUR,
        _ => seconds - seconds % DAY,
    };
    span(whole)
}

/// `45 MiB`.
pub(super) fn bytes(number: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let Some((unit, size)) = UNITS.into_iter().find(|(_, size)| number >= *size) else { return format!("{number} B") };
    let (whole, tenths) = (number / size, number % size * 10 / size);
    if whole < 10 { format!("{whole}.{tenths} {unit}") } else { format!("{whole} {unit}") }
}

/// As it stands in a query: all but letters, digits and `-._~` encoded (RFC 3986 §2.3).
pub(super) fn encoded(text: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_readable() {
        for (number, expected) in [(0, "0"), (999, "999"), (1204, "1,204"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), expected);
        }
        for (number, expected) in [
            (0.0, "0"),
            (0.04, "0"),
            (0.06, "0.1"),
            (3.12, "3.1"),
            (9.96, "10"),
            (204.4, "204"),
            (999.4, "999"),
            (999.6, "1.0k"),
            (12_345.0, "12k"),
            (3_400_000.0, "3.4M"),
            (2e12, "2000G"),
        ] {
            assert_eq!(short(number), expected, "{number}");
        }
        assert_eq!((short_whole(3.0), short_whole(1204.0)), ("3".to_owned(), "1.2k".to_owned()));
        assert_eq!((millis(0.42), millis(120.4)), ("0.4".to_owned(), "120".to_owned()));
        assert_eq!((short_or_unknown(None), count_or_unknown(None)), ("-".to_owned(), "-".to_owned()));
        for (number, expected) in [(512, "512 B"), (1536, "1.5 KiB"), (45 << 20, "45 MiB"), (3 << 30, "3.0 GiB")] {
            assert_eq!(bytes(number), expected);
        }
    }

    #[test]
    fn spans_have_two_units_or_one() {
        for (seconds, long, brief) in [
            (0, "0s", "0s"),
            (59, "59s", "59s"),
            (60, "1m", "1m"),
            (723, "12m 3s", "12m"),
            (7500, "2h 5m", "2h"),
            (3 * DAY + 4 * HOUR + 59, "3d 4h", "3d"),
        ] {
            assert_eq!((&*span(seconds), &*short_span(seconds)), (long, brief), "{seconds}");
        }
    }

    #[test]
    fn queries_carry_any_name() {
        assert_eq!(encoded("ada-1"), "ada-1");
        assert_eq!(encoded("a&b=/é"), "a%26b%3D%2F%C3%A9");
    }
}
