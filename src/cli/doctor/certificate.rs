//! What clients are shown, and for how long.

use std::{
    fmt::Display,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use tokio::{net::TcpStream, time::timeout};

use super::{finding::Finding, request::PATIENCE};
use crate::{
    cli::configuration::here,
    config::Config,
    tls::{
        TlsTable,
        acme::{
            AcmeTable,
            survey::{self as cache, Survey},
        },
        survey::{self, Authority, Pair, Surveyed},
    },
};

const CHECK: &str = "certificate";

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Time for people to do something, where the certificate is for longer than three times that.
const ENDS_SOON: Duration = Duration::from_secs(14 * DAY.as_secs());
/// Account, certificate and challenges need less.
const FREE_BYTES: u64 = 1 << 20;

/// `names`: of hosts that clients use.
pub(super) async fn check(config: &Config, names: &[String]) -> Vec<Finding> {
    let Some(table) = &config.tls else {
        return vec![Finding::skip(CHECK, "there is no [tls]: clients speak plain HTTP with this gate")];
    };
    let now = SystemTime::now();
    let surveyed = survey::survey(table, now);
    let mut findings: Vec<_> = surveyed.iter().map(|one| judge(one, now)).collect();
    let ordered = table.acme.as_ref().map_or(&[][..], |acme| &acme.domains);
    let pairs: Vec<_> = surveyed.iter().filter_map(|one| one.pair.as_ref().ok()).collect();
    findings.extend(names.iter().map(|name| judge_name(name, &pairs, ordered)));
    findings.extend(judge_authorities(table, now));
    if let Some(acme) = &table.acme {
        findings.extend(ordered_here(acme, now).await);
    }
    findings
}

fn judge(Surveyed { table, pair }: &Surveyed, now: SystemTime) -> Finding {
    let pair = match pair {
        Ok(pair) => pair,
        Err(why) => return Finding::fail(CHECK, why.as_str()),
    };
    let Pair { path, names, not_before, not_after, chain, .. } = pair;
    let names = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
    let plural = if *chain == 1 { "" } else { "s" };
    let end = ends(*not_after, now);
    let found = format!("{table}: {} for {names}, with its key, in {chain} certificate{plural}, {end}", path.display());
    let lifetime = not_after.duration_since(*not_before).unwrap_or_default();
    match not_after.duration_since(now).unwrap_or_default() < soon(lifetime) {
        true => Finding::warn(CHECK, found).fix("renew it; a gate shows a new file within seconds, without a restart"),
        false => Finding::ok(CHECK, found),
    }
}

/// What is left when a certificate should have been renewed: a third of its lifetime, and two weeks at most.
fn soon(lifetime: Duration) -> Duration {
    ENDS_SOON.min(lifetime / 3)
}

fn ends(not_after: SystemTime, now: SystemTime) -> String {
    let date = httpdate::fmt_http_date(not_after);
    match not_after.duration_since(now) {
        Err(_) => format!("ended on {date}"),
        Ok(left) if left < 2 * DAY => format!("ends in {} h, on {date}", left.as_secs() / 3600),
        Ok(left) => format!("ends in {} days, on {date}", left.as_secs() / DAY.as_secs()),
    }
}

fn judge_name(name: &str, pairs: &[&Pair], ordered: &[String]) -> Finding {
    let is_ordered = || ordered.iter().any(|domain| domain.eq_ignore_ascii_case(name));
    match pairs.iter().any(|pair| pair.covers(name)) || is_ordered() {
        true => Finding::ok(CHECK, format!("there is a certificate for {name}")),
        false => Finding::fail(CHECK, format!("no certificate is for {name}"))
            .fix("clients that use this name refuse to connect: get a certificate with it in its subjectAltName"),
    }
}

fn judge_authorities(table: &TlsTable, now: SystemTime) -> Vec<Finding> {
    let judge = |Authority { subject, not_after }: &Authority| {
        let found = format!("tls.client_ca: {subject} {}", ends(*not_after, now));
        match not_after.duration_since(now) {
            Err(_) => Finding::fail(CHECK, found).fix("clients with its certificates are refused: name a newer one"),
            Ok(left) if left < ENDS_SOON => Finding::warn(CHECK, found).fix("add its successor to the file"),
            Ok(_) => Finding::ok(CHECK, found),
        }
    };
    match survey::authorities(table) {
        Ok(authorities) => authorities.iter().map(judge).collect(),
        Err(why) => vec![Finding::fail(CHECK, why)],
    }
}

async fn ordered_here(table: &AcmeTable, now: SystemTime) -> Vec<Finding> {
    let mut findings = if table.is_cached_in_redis() {
        vec![Finding::skip(
            CHECK,
            "tls.acme.cache is in Redis: see the metrics tidegate_certificate_not_after_seconds and tidegate_acme_next_order_timestamp_seconds",
        )]
    } else {
        match cache::survey(table).await {
            Ok(survey) => judge_cache(table, &survey, now),
            Err(faults) => faults.iter().map(|fault| Finding::fail(CHECK, fault.to_string())).collect(),
        }
    };
    if let Some(address) = table.http_address {
        let address = here(address);
        let answers = timeout(PATIENCE, TcpStream::connect(address)).await.is_ok_and(|tried| tried.is_ok());
        findings.push(judge_http(address, answers));
    }
    findings
}

fn judge_http(address: SocketAddr, answers: bool) -> Finding {
    match answers {
        true => Finding::ok(CHECK, format!("tls.acme.http_address answers at {address}")),
        false => Finding::warn(CHECK, format!("nothing answers at tls.acme.http_address, {address}"))
            .fix("while the gate runs, it does; the authority must reach it through port 80 of each domain"),
    }
}

fn judge_cache(table: &AcmeTable, survey: &Survey, now: SystemTime) -> Vec<Finding> {
    let Survey { folder, writable, free, held, failures } = survey;
    let of_folder = |found: &dyn Display| format!("tls.acme.cache: {} {found}", folder.display());
    let mut findings = vec![match (writable, free) {
        (Err(why), _) => Finding::fail(CHECK, of_folder(&format!("cannot be written to: {why}")))
            .fix("give the user that runs Tidegate write access, on a volume that survives a restart"),
        (Ok(()), Some(free)) if *free < FREE_BYTES => {
            Finding::fail(CHECK, of_folder(&format!("has {free} bytes free"))).fix("make room there")
        }
        (Ok(()), _) => Finding::ok(CHECK, of_folder(&"can be written to")),
    }];
    let domains = table.domains.join(", ");
    let failing = match failures {
        0 => String::new(),
        count => format!(", after {count} orders that failed"),
    };
    let log = "see the log of the gate for what the authority says: is each domain reachable from outside?";
    findings.push(match held {
        None => Finding::warn(CHECK, format!("no certificate for {domains} has been ordered yet{failing}")).fix(log),
        Some(Err(why)) => Finding::warn(CHECK, format!("the certificate in tls.acme.cache is not used: {why}"))
            .fix("another one is ordered"),
        Some(Ok(held)) => {
            let next = httpdate::fmt_http_date(held.renewal);
            let found = format!(
                "for {domains} one was ordered, which {}; the next order is due by {next}{failing}",
                ends(held.not_after, now)
            );
            match (held.not_after <= now, held.overdue <= now) {
                (true, _) => Finding::fail(CHECK, found).fix(log),
                (false, true) => Finding::warn(CHECK, found).fix(log),
                (false, false) => Finding::ok(CHECK, found),
            }
        }
    });
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::doctor::finding::Status, tls::acme::survey::OrderTimes};

    #[test]
    fn how_much_must_be_left_depends_on_the_lifetime() {
        for (lifetime, left) in [(365, 14.0), (90, 14.0), (42, 14.0), (6, 2.0), (1, 1.0 / 3.0)] {
            assert_eq!(soon(DAY * lifetime).as_secs_f64(), left * DAY.as_secs_f64(), "{lifetime} days");
        }
    }

    #[test]
    fn the_end_is_told_in_days_and_at_the_end_in_hours() {
        let now = SystemTime::UNIX_EPOCH + DAY * 20_000;
        for (left, part) in [(DAY * 30, "ends in 30 days, on "), (DAY, "ends in 24 h, on ")] {
            assert!(ends(now + left, now).starts_with(part));
        }
        assert!(ends(now - DAY, now).starts_with("ended on "));
    }

    #[test]
    fn a_name_is_covered_by_a_file_or_by_an_order() {
        let ordered = ["ws.example.com".to_owned()];
        assert_eq!(judge_name("WS.example.com", &[], &ordered).status, Status::Ok);
        assert_eq!(judge_name("other.example.com", &[], &ordered).status, Status::Fail);
    }

    #[test]
    fn a_cache_is_judged_by_its_folder_and_by_what_is_in_it() {
        let now = SystemTime::UNIX_EPOCH + DAY * 20_000;
        let held = |left: i32| {
            let at =
                |days: i32| if days < 0 { now - DAY * days.unsigned_abs() } else { now + DAY * days.unsigned_abs() };
            Some(Ok(OrderTimes { not_after: at(left), renewal: at(left - 30), overdue: at(left - 22) }))
        };
        let survey = |writable, free, held| Survey { folder: "/c".into(), writable, free, held, failures: 0 };
        let fine = || Ok(());
        for (survey, folder, certificate) in [
            (survey(fine(), Some(1 << 30), held(60)), Status::Ok, Status::Ok),
            (survey(fine(), None, held(20)), Status::Ok, Status::Warn),
            (survey(fine(), None, held(-1)), Status::Ok, Status::Fail),
            (survey(fine(), Some(1000), None), Status::Fail, Status::Warn),
            (survey(Err("denied".to_owned()), None, Some(Err("it is no PEM".to_owned()))), Status::Fail, Status::Warn),
        ] {
            let found: Vec<_> = judge_cache(&AcmeTable::default(), &survey, now).iter().map(|one| one.status).collect();
            assert_eq!(found, [folder, certificate], "{survey:?}");
        }
        let address = SocketAddr::from(([127, 0, 0, 1], 80));
        assert_eq!([true, false].map(|answers| judge_http(address, answers).status), [Status::Ok, Status::Warn]);
    }
}
