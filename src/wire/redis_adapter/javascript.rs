//! Numbers and dates as JavaScript writes them (ECMA-262, Number::toString, Date.prototype.toISOString, JSON.stringify).

use std::{fmt, io::Write};

/// The farthest date from 1970, in milliseconds: ECMA-262, "Time Values and Time Range".
const TIME_MAX: f64 = 8.64e15;

const MILLISECONDS_A_DAY: i64 = 86_400_000;

/// As `JSON.stringify` does: `null` where it is not finite, `0` for -0.
pub(super) fn write_number(number: f64, out: &mut Vec<u8>) {
    if !number.is_finite() {
        return out.extend_from_slice(b"null");
    }
    out.extend_from_slice(ryu_js::Buffer::new().format_finite(number).as_bytes());
}

/// As `JSON.stringify` does with a date, with its quotes: `null` for what is none. `milliseconds` since 1970, UTC.
pub(super) fn write_date(milliseconds: f64, out: &mut Vec<u8>) {
    if milliseconds.is_nan() || milliseconds.abs() > TIME_MAX {
        return out.extend_from_slice(b"null");
    }
    let milliseconds = milliseconds as i64;
    let (year, month, day) = civil(milliseconds.div_euclid(MILLISECONDS_A_DAY));
    let of_day = milliseconds.rem_euclid(MILLISECONDS_A_DAY);
    out.push(b'"');
    match year {
        0..=9999 => write(out, format_args!("{year:04}")),
        _ => write(out, format_args!("{year:+07}")),
    }
    let (hour, minute, second) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1000 % 60);
    write(out, format_args!("-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z\"", of_day % 1000));
}

/// Year, month and day of so many days after 1970-01-01 in the Gregorian calendar, by counting in eras of 400 years that
/// begin on the first of March (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
const fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + (month <= 2) as i64, month, day)
}

fn write(out: &mut impl Write, text: fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to memory cannot fail");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(number: f64) -> String {
        let mut out = Vec::new();
        write_number(number, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn date(milliseconds: f64) -> String {
        let mut out = Vec::new();
        write_date(milliseconds, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_written_as_node_writes_them() {
        // What node 20 prints for JSON.stringify of each.
        let rows = [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (100.0, "100"),
            (123_456.789, "123456.789"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e-6, "0.000001"),
            (1.25e-6, "0.00000125"),
            (1e-7, "1e-7"),
            (-1.5e-7, "-1.5e-7"),
            (9_007_199_254_740_993.0, "9007199254740992"),
            (1e20, "100000000000000000000"),
            (1.234_567_890_123_456_7e20, "123456789012345670000"),
            (1e21, "1e+21"),
            (-1.5e300, "-1.5e+300"),
            // Halfway between two of the fewest digits: the even one.
            (-3_049_793_469_608_293.0 / 4.0, "-762448367402073.2"),
            (3_049_793_469_608_295.0 / 4.0, "762448367402073.8"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (f64::NAN, "null"),
            (f64::INFINITY, "null"),
            (f64::NEG_INFINITY, "null"),
        ];
        for (value, written) in rows {
            assert_eq!(number(value), written);
        }
    }

    #[test]
    fn dates_are_written_as_node_writes_them() {
        let rows = [
            (0.0, "\"1970-01-01T00:00:00.000Z\""),
            (-1.0, "\"1969-12-31T23:59:59.999Z\""),
            (951_782_400_000.0, "\"2000-02-29T00:00:00.000Z\""),
            (951_868_800_000.0, "\"2000-03-01T00:00:00.000Z\""),
            (1_700_000_000_123.9, "\"2023-11-14T22:13:20.123Z\""),
            (-0.9, "\"1970-01-01T00:00:00.000Z\""),
            (253_402_300_799_999.0, "\"9999-12-31T23:59:59.999Z\""),
            (253_402_300_800_000.0, "\"+010000-01-01T00:00:00.000Z\""),
            (-62_167_219_200_000.0, "\"0000-01-01T00:00:00.000Z\""),
            (-62_167_219_200_001.0, "\"-000001-12-31T23:59:59.999Z\""),
            (8.64e15, "\"+275760-09-13T00:00:00.000Z\""),
            (-8.64e15, "\"-271821-04-20T00:00:00.000Z\""),
            (8.64e15 + 1.0, "null"),
            (f64::NAN, "null"),
            (f64::INFINITY, "null"),
        ];
        for (value, written) in rows {
            assert_eq!(date(value), written);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_says_the_same_number(value in any::<f64>()) {
            if value.is_finite() {
                prop_assert_eq!(number(value).parse(), Ok(value));
            }
        }
    }
}
