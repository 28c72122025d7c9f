//! The clocks of this machine and of others: tokens and certificates are judged by them.

use std::time::Duration;

use super::finding::{Finding, Sighting, Status};

const CHECK: &str = "clock";

/// More than networks and rounding explain.
const SKEW_MAX: Duration = Duration::from_secs(5);

/// Judges all clocks that were seen. `leeway`: of `auth.leeway`.
pub(super) fn judge(sightings: &[Sighting], leeway: Duration) -> Finding {
    if sightings.is_empty() {
        return Finding::skip(
            CHECK,
            "no other clock was seen: no answer with a date of auth.jwks_url or of the service, except of a cache (Age), and none of Redis",
        );
    }
    let told: Vec<_> = sightings.iter().map(|sighting| one(sighting, leeway)).collect();
    let worst = told.iter().map(|(status, _)| *status).max().unwrap_or(Status::Ok);
    let of_interest = told.into_iter().filter(|(status, _)| *status == worst).map(|(_, text)| text);
    let found = of_interest.collect::<Vec<_>>().join(", ");
    let finding = Finding { check: CHECK, status: worst, found, fix: None };
    match worst {
        Status::Ok | Status::Skip => finding,
        Status::Warn => finding.fix("set both clocks by NTP"),
        Status::Fail => finding.fix(format!(
            "set both clocks by NTP: auth.leeway is {} s, and tokens are refused too early, or accepted too late",
            leeway.as_secs()
        )),
    }
}

fn one(sighting: &Sighting, leeway: Duration) -> (Status, String) {
    let Sighting { whose, before, said, after, to_the_second } = sighting;
    let latest = *said + Duration::from_secs(u64::from(*to_the_second));
    let ahead = said.duration_since(*after).unwrap_or_default();
    let behind = before.duration_since(latest).unwrap_or_default();
    let (skew, way) = if ahead > behind { (ahead, "ahead of") } else { (behind, "behind") };
    if skew <= leeway.min(SKEW_MAX) {
        return (Status::Ok, format!("the clock of {whose} agrees with this machine's"));
    }
    let status = if skew > leeway { Status::Fail } else { Status::Warn };
    (status, format!("the clock of {whose} is {:.1} s {way} this machine's", skew.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn sighting(said: f64, to_the_second: bool) -> Sighting {
        let at = |seconds: f64| UNIX_EPOCH + Duration::from_secs_f64(seconds);
        // It was asked from 1000 to 1002.
        let (before, after) = (at(1000.0), at(1002.0));
        Sighting { whose: "a".to_owned(), before, said: at(said), after, to_the_second }
    }

    #[test]
    fn only_what_no_delay_explains_counts() {
        let leeway = Duration::from_secs(30);
        for (said, to_the_second, status, part) in [
            (1001.0, true, Status::Ok, "agrees"),
            (1007.0, true, Status::Ok, "agrees"),
            (1007.5, false, Status::Warn, "5.5 s ahead of"),
            (1032.0, true, Status::Warn, "30.0 s ahead of"),
            (1033.0, true, Status::Fail, "31.0 s ahead of"),
            (994.0, true, Status::Ok, "agrees"),
            (994.0, false, Status::Warn, "6.0 s behind"),
            (960.0, true, Status::Fail, "39.0 s behind"),
        ] {
            let finding = judge(&[sighting(said, to_the_second)], leeway);
            assert_eq!(finding.status, status, "{said}: {finding:?}");
            assert!(finding.found.contains(part), "{finding:?}");
        }
    }

    #[test]
    fn a_small_leeway_is_all_that_there_is() {
        let finding = judge(&[sighting(1004.0, false)], Duration::from_secs(1));
        assert_eq!(finding.status, Status::Fail, "{finding:?}");
        assert_eq!(judge(&[sighting(1004.0, false)], Duration::from_secs(3)).status, Status::Ok);
    }

    #[test]
    fn of_several_clocks_the_worst_are_told() {
        let others = [sighting(1001.0, true), Sighting { whose: "b".to_owned(), ..sighting(2000.0, true) }];
        let finding = judge(&others, Duration::from_secs(30));
        assert_eq!(finding.status, Status::Fail);
        assert!(finding.found.starts_with("the clock of b is 998.0 s ahead"), "{finding:?}");
        assert_eq!(judge(&[], Duration::ZERO).status, Status::Skip);
    }
}
