//! How good a client's connection is, by the round trips of the heartbeats that it is sent in any case.

pub(super) mod ping;
pub(super) mod ping_rate;
pub mod ping_rules;

use std::time::Duration;

/// So many round trips are looked at: the last ones.
const WINDOW: usize = 10;

/// A ping whose answer takes longer counts as lost. A connection loses nothing, so such an answer comes late.
pub const LOST_AFTER: Duration = Duration::from_secs(5);

/// A round trip is kept in units of this.
const UNIT: Duration = Duration::from_micros(100);

/// Stands for a round trip that was longer than [`LOST_AFTER`].
const LOST: u16 = u16::MAX;

const _: () = assert!(LOST_AFTER.as_micros() / UNIT.as_micros() < LOST as u128, "what is not lost fits");

/// Averages below this are excellent, ...
const EXCELLENT_BELOW: Duration = Duration::from_millis(100);

/// ... below this good, ...
const GOOD_BELOW: Duration = Duration::from_millis(250);

/// ... and below this fair.
const FAIR_BELOW: Duration = Duration::from_millis(500);

/// The grade of a connection, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quality {
    /// Below 100 ms.
    Excellent,
    /// Below 250 ms.
    Good,
    /// Below 500 ms.
    Fair,
    /// Longer, or no answer came in time.
    Poor,
}

impl Quality {
    /// The name in metrics and `/sessions`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Excellent => "excellent",
            Self::Good => "good",
            Self::Fair => "fair",
            Self::Poor => "poor",
        }
    }

    /// The grade of an average round trip. There is no hysteresis: the average of ten moves by a tenth of what one more
    /// round trip differs from the one that it displaces, and there are two or three of them in a minute.
    #[must_use]
    pub fn of(average: Duration) -> Self {
        match average {
            _ if average < EXCELLENT_BELOW => Self::Excellent,
            _ if average < GOOD_BELOW => Self::Good,
            _ if average < FAIR_BELOW => Self::Fair,
            _ => Self::Poor,
        }
    }
}

/// The last round trips of one session, and all that is said of them: they are few enough to be kept as they are.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct RoundTrips {
    /// The latest one, in microseconds.
    last: u32,
    /// The last [`WINDOW`] of them in [`UNIT`]s, or [`LOST`]; the next displaces the oldest.
    window: [u16; WINDOW],
    next: u8,
    count: u8,
}

impl RoundTrips {
    /// One more.
    pub(super) fn add(&mut self, took: Duration) {
        self.last = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        let rounded = (took + UNIT / 2).as_micros() / UNIT.as_micros();
        let kept = if took > LOST_AFTER { LOST } else { u16::try_from(rounded).unwrap_or(LOST) };
        self.window[usize::from(self.next)] = kept;
        self.count = self.count.max(self.next + 1);
        self.next = if usize::from(self.next) + 1 == WINDOW { 0 } else { self.next + 1 };
    }

    fn all(&self) -> &[u16] {
        &self.window[..usize::from(self.count)]
    }

    /// Those whose answer came in time.
    fn in_time(&self) -> impl Iterator<Item = u32> {
        self.all().iter().filter(|trip| **trip != LOST).map(|trip| u32::from(*trip))
    }

    fn mean(&self, of: impl Fn(u32) -> u32) -> Option<Duration> {
        let (sum, count) = self.in_time().fold((0, 0), |(sum, count), trip| (sum + of(trip), count + 1));
        (UNIT * sum).checked_div(count)
    }

    /// The latest one. `None`: no ping was answered yet.
    pub(super) fn last(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_micros(self.last.into()))
    }

    /// The average of the last ten. `None`: none was answered in time.
    pub(super) fn average(&self) -> Option<Duration> {
        self.mean(|trip| trip)
    }

    /// How far they lie from their average, on average: the mean deviation, of the same ten as the average, so that the two can
    /// be compared. (RFC 3550 §6.4.1 has a running estimate for streams that are not kept.) `None`: there are fewer than two.
    pub(super) fn jitter(&self) -> Option<Duration> {
        let average = self.average().filter(|_| self.in_time().nth(1).is_some())?;
        let average = u32::try_from(average.as_micros() / UNIT.as_micros()).ok()?;
        self.mean(|trip| trip.abs_diff(average))
    }

    /// Which share of the last ten was lost, in percent. `None`: no ping was answered yet.
    pub(super) fn loss_percent(&self) -> Option<u8> {
        let lost = u8::try_from(self.all().len() - self.in_time().count()).ok()?;
        (u16::from(lost) * 100).checked_div(u16::from(self.count)).and_then(|percent| u8::try_from(percent).ok())
    }

    /// The grade. `None`: no ping was answered yet.
    pub(super) fn quality(&self) -> Option<Quality> {
        (self.count > 0).then(|| self.average().map_or(Quality::Poor, Quality::of))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ms: &[u64]) -> RoundTrips {
        let mut trips = RoundTrips::default();
        ms.iter().for_each(|ms| trips.add(Duration::from_millis(*ms)));
        trips
    }

    #[test]
    fn an_average_has_the_grade_of_its_threshold() {
        for (micros, quality) in [
            (0, Quality::Excellent),
            (99_999, Quality::Excellent),
            (100_000, Quality::Good),
            (249_999, Quality::Good),
            (250_000, Quality::Fair),
            (499_999, Quality::Fair),
            (500_000, Quality::Poor),
            (60_000_000, Quality::Poor),
        ] {
            assert_eq!(Quality::of(Duration::from_micros(micros)), quality, "{micros} µs");
        }
    }

    #[test]
    fn the_last_ten_count_and_those_in_time_have_an_average() {
        let ten_good_then = |more: &[u64]| [&[20; 10][..], more].concat();
        for (ms, average, jitter, loss, quality) in [
            (vec![], None, None, None, None),
            (vec![40], Some(40.0), None, Some(0), Some("excellent")),
            (vec![40, 60], Some(50.0), Some(10.0), Some(0), Some("excellent")),
            (vec![100, 300, 200], Some(200.0), Some(66.7), Some(0), Some("good")),
            (ten_good_then(&[]), Some(20.0), Some(0.0), Some(0), Some("excellent")),
            (ten_good_then(&[320; 5]), Some(170.0), Some(150.0), Some(0), Some("good")),
            (ten_good_then(&[320; 10]), Some(320.0), Some(0.0), Some(0), Some("fair")),
            (ten_good_then(&[5000]), Some(518.0), Some(896.4), Some(0), Some("poor")),
            (ten_good_then(&[5001]), Some(20.0), Some(0.0), Some(10), Some("excellent")),
            (vec![30, 9_000_000_000, 50], Some(40.0), Some(10.0), Some(33), Some("excellent")),
            (vec![6000], None, None, Some(100), Some("poor")),
            (ten_good_then(&[6000; 10]), None, None, Some(100), Some("poor")),
            ([&[6000; 10][..], &[20; 9]].concat(), Some(20.0), Some(0.0), Some(10), Some("excellent")),
        ] {
            let trips = of(&ms);
            let tenths = |took: Option<Duration>| took.map(|took| (took.as_secs_f64() * 10_000.0).round() / 10.0);
            assert_eq!(tenths(trips.average()), average, "the average of {ms:?}");
            assert_eq!(tenths(trips.jitter()), jitter, "the jitter of {ms:?}");
            assert_eq!(trips.loss_percent(), loss, "the loss of {ms:?}");
            assert_eq!(trips.quality().map(Quality::name), quality, "the grade of {ms:?}");
        }
    }

    #[test]
    fn the_latest_is_kept_to_the_microsecond() {
        let mut trips = of(&[7000, 20]);
        assert_eq!(trips.last(), Some(Duration::from_millis(20)));
        trips.add(Duration::from_micros(123));
        assert_eq!(trips.last(), Some(Duration::from_micros(123)));
        trips.add(Duration::from_secs(7));
        assert_eq!(trips.last(), Some(Duration::from_secs(7)), "also a late one");
        assert!(size_of::<RoundTrips>() <= 28, "{}", size_of::<RoundTrips>());
    }
}
