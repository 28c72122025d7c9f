//! Whether Redis can be used as a node uses it.

use std::time::Duration;

use super::finding::{Checked, Finding, Sighting};
use crate::{
    cluster::probe::{self, Probed},
    config::Config,
    start::survey,
};

const CHECK: &str = "redis";

/// Events between nodes take this time and more.
const SLOW: Duration = Duration::from_millis(50);

pub(super) async fn check(config: &Config) -> Checked {
    let rules = match survey::redis(config) {
        Ok(Some(rules)) => rules,
        Ok(None) => return Finding::skip(CHECK, "there is no [redis]: the node is alone").into(),
        Err(faults) => {
            return faults.iter().map(|fault| Finding::fail(CHECK, fault.to_string())).collect::<Vec<_>>().into();
        }
    };
    let place = rules.place();
    match probe::probe(&rules).await {
        Err(why) => Finding::fail(CHECK, format!("{place}: {why}")).into(),
        Ok(probed) => {
            let sighting = probed.time.map(|time| Sighting {
                whose: "Redis".to_owned(),
                before: time.before,
                said: time.said,
                after: time.after,
                to_the_second: false,
            });
            Checked { findings: judge(&place, rules.url_key(), &probed, !config.mirror.is_empty()), sighting }
        }
    }
}

/// `url_key`: what says where Redis is. `mirrors`: whether events go to other nodes.
fn judge(place: &str, url_key: &str, probed: &Probed, mirrors: bool) -> Vec<Finding> {
    let Probed { connected_in, ping, version, role, is_cluster, hears, adapter, .. } = probed;
    let version = version.as_deref().map_or_else(String::new, |version| format!(" {version}"));
    let kind = match (is_cluster, role.as_deref()) {
        (true, _) => ", a cluster".to_owned(),
        (false, Some("slave")) => ", a replica".to_owned(),
        (false, Some(role)) => format!(", a {role}"),
        (false, None) => String::new(),
    };
    let (connected, ping_ms) = (connected_in.as_millis(), ping.as_secs_f64() * 1000.0);
    let found = format!("{place} is Redis{version}{kind}, connected in {connected} ms, PING in {ping_ms:.1} ms");
    let mut findings = vec![if role.as_deref() == Some("slave") && !is_cluster {
        Finding::fail(CHECK, found).fix(format!("set {url_key} to the master, or to Sentinel, which knows it"))
    } else if *ping > SLOW {
        Finding::warn(CHECK, found).fix("events between nodes wait as long: bring Redis nearer")
    } else {
        Finding::ok(CHECK, found)
    }];
    if let Err(why) = hears {
        findings.push(Finding::fail(CHECK, format!("{place} does not let this user subscribe and publish: {why}")));
    }
    match adapter {
        Ok(None) => {}
        Ok(Some(adapter)) => {
            let found = format!("{adapter} of a service is on the same redis.key");
            let fix = "give redis.key another value; if it is the service behind this gate, leave [[mirror]] out";
            findings.push(match mirrors {
                true => Finding::fail(CHECK, format!("{found}: events go neither to other nodes nor come from them"))
                    .fix(fix),
                false => Finding::warn(CHECK, found).fix(fix),
            });
        }
        Err(why) => {
            findings.push(Finding::warn(CHECK, format!("it is not known whether the service has an adapter: {why}")))
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Status::{self, Fail, Ok as Fine, Warn};

    #[test]
    fn a_redis_is_judged_by_all_that_a_node_needs() {
        let good = || Probed {
            connected_in: Duration::from_millis(3),
            ping: Duration::from_micros(400),
            version: Some("7.0.15".to_owned()),
            role: Some("master".to_owned()),
            is_cluster: false,
            time: None,
            hears: Ok(()),
            adapter: Ok(None),
        };
        let adapter = || Ok(Some("the adapter".to_owned()));
        let rows: [(Probed, bool, &[Status]); 8] = [
            (good(), true, &[Fine]),
            (Probed { role: Some("slave".to_owned()), ..good() }, true, &[Fail]),
            (Probed { role: Some("slave".to_owned()), is_cluster: true, ..good() }, true, &[Fine]),
            (Probed { ping: Duration::from_millis(51), ..good() }, true, &[Warn]),
            (Probed { hears: Err("no right".to_owned()), ..good() }, true, &[Fine, Fail]),
            (Probed { adapter: adapter(), ..good() }, true, &[Fine, Fail]),
            (Probed { adapter: adapter(), ..good() }, false, &[Fine, Warn]),
            (Probed { adapter: Err("no right".to_owned()), ..good() }, false, &[Fine, Warn]),
        ];
        for (probed, mirrors, expected) in rows {
            let found: Vec<_> =
                judge("r:6379", "redis.url_from", &probed, mirrors).iter().map(|finding| finding.status).collect();
            assert_eq!(found, expected, "{probed:?}");
        }
        let replica = Probed { role: Some("slave".to_owned()), ..good() };
        let fix = judge("r:6379", "redis.url_from", &replica, true).remove(0).fix.unwrap();
        assert!(fix.starts_with("set redis.url_from to the master"), "{fix}");
        let found = judge("r:6379", "redis.url", &good(), true).remove(0).found;
        assert_eq!(found, "r:6379 is Redis 7.0.15, a master, connected in 3 ms, PING in 0.4 ms");
    }
}
