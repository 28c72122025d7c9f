//! Whether the hosts of the configuration have addresses, and how soon that is known.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use http::Uri;
use tokio::{net::lookup_host, time::timeout};

use super::{finding::Finding, request::PATIENCE};
use crate::{config::Config, start::survey};

const CHECK: &str = "dns";

/// Each dial waits for it.
const SLOW: Duration = Duration::from_secs(1);
/// So many addresses are shown.
const SHOWN: usize = 4;

/// What was answered for one host.
type Resolved = Result<Vec<IpAddr>, String>;

pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let hosts = hosts(config);
    if hosts.is_empty() {
        return vec![Finding::skip(CHECK, "the configuration names no host, only addresses")];
    }
    let asked = hosts.into_iter().map(async |(key, host)| {
        let began = Instant::now();
        let resolved = resolve(&host).await;
        judge(key, &host, resolved, began.elapsed())
    });
    join_all(asked).await
}

/// The names of hosts, each once, with the key that has it first.
fn hosts(config: &Config) -> Vec<(&'static str, String)> {
    let of_url = |url: &str| url.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
    let redis = survey::redis(config).ok().flatten();
    let redis = redis.iter().flat_map(|rules| rules.hosts().into_iter().map(|(host, _)| (rules.url_key(), host)));
    let acme = config.tls.as_ref().and_then(|tls| tls.acme.as_ref());
    let urls = [
        ("upstream.url", Some(&config.upstream.url)),
        ("auth.jwks_url", config.auth.jwks_url.as_ref()),
        ("tls.acme.directory", acme.map(|acme| &acme.directory)),
    ];
    let of_urls = urls.into_iter().filter_map(|(key, url)| Some((key, of_url(url?)?)));
    let mut hosts: Vec<(&'static str, String)> = Vec::new();
    for (key, host) in of_urls.chain(redis) {
        let is_address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
        if !is_address && !hosts.iter().any(|(_, known)| *known == host) {
            hosts.push((key, host));
        }
    }
    hosts
}

async fn resolve(host: &str) -> Resolved {
    let found = timeout(PATIENCE, lookup_host((host, 0))).await;
    let found = found.map_err(|_| format!("no answer came within {} s", PATIENCE.as_secs()))?;
    let mut addresses: Vec<_> = found.map_err(|error| error.to_string())?.map(|address| address.ip()).collect();
    addresses.dedup();
    Ok(addresses)
}

fn judge(key: &str, host: &str, resolved: Resolved, took: Duration) -> Finding {
    match resolved {
        Err(why) => Finding::fail(CHECK, format!("{host} ({key}) has no address: {why}"))
            .fix("is the name right, and is there DNS here?"),
        Ok(addresses) => {
            let mut shown: Vec<_> = addresses.iter().take(SHOWN).map(ToString::to_string).collect();
            if addresses.len() > SHOWN {
                shown.push(format!("{} more", addresses.len() - SHOWN));
            }
            let found = format!("{host} ({key}) is {}, after {} ms", shown.join(", "), took.as_millis());
            if took < SLOW {
                return Finding::ok(CHECK, found);
            }
            let fix =
                "in Kubernetes a name that ends with a dot is asked for once, not with every search domain (ndots)";
            Finding::warn(CHECK, found).fix(fix)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::doctor::finding::Status, cluster::table::RedisTable};

    #[test]
    fn each_host_is_asked_for_once_and_addresses_are_not() {
        let mut config = Config::default();
        assert_eq!(hosts(&config), []);
        config.upstream.url = "http://service:4003".to_owned();
        config.auth.jwks_url = Some("https://id.example.com/jwks".to_owned());
        config.redis =
            Some(RedisTable { url: "redis+cluster://a:1,service:2,10.0.0.1:3".to_owned(), ..RedisTable::default() });
        let expected = [("upstream.url", "service"), ("auth.jwks_url", "id.example.com"), ("redis.url", "a")];
        assert_eq!(hosts(&config), expected.map(|(key, host)| (key, host.to_owned())));
    }

    #[test]
    fn a_name_without_an_address_fails_and_a_slow_one_is_told_of() {
        let fast = Duration::from_millis(3);
        let address = IpAddr::from([10, 0, 0, 1]);
        for (resolved, took, status, part) in [
            (Ok(vec![address]), fast, Status::Ok, "service (upstream.url) is 10.0.0.1, after 3 ms"),
            (Ok(vec![address; 6]), fast, Status::Ok, "10.0.0.1, 2 more"),
            (Ok(vec![address]), SLOW, Status::Warn, "1000 ms"),
            (Err("no such name".to_owned()), fast, Status::Fail, "has no address: no such name"),
        ] {
            let finding = judge("upstream.url", "service", resolved, took);
            assert_eq!(finding.status, status, "{finding:?}");
            assert!(finding.found.contains(part), "{finding:?}");
        }
    }
}
