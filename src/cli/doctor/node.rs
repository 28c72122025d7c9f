//! Whether a gate runs here, whether it is ready, and whether it does what the file says.

use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;

use super::{
    finding::{Finding, in_kubernetes},
    request::{self, Answer},
};
use crate::{
    cli::configuration::operator_address,
    config::{Config, changes::Changes, load::Loaded},
    relay::dial::{Dialler, UpstreamTable},
    start::survey,
};

const CHECK: &str = "node";

/// What `/readyz` answers.
#[derive(Debug, Deserialize)]
struct Readiness {
    ready: bool,
    conditions: Vec<Condition>,
}

#[derive(Debug, Deserialize)]
struct Condition {
    name: String,
    ok: bool,
    required: bool,
    why: Option<String>,
}

pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let address = operator_address(config);
    if address.port() == 0 {
        return vec![Finding::skip(CHECK, "admin.address has no port of its own, so that the node cannot be found")];
    }
    let table = UpstreamTable { url: format!("http://{address}"), ..UpstreamTable::default() };
    let node = match Dialler::compile(&table, None) {
        Ok(node) => node,
        Err(faults) => return faults.iter().map(|fault| Finding::fail(CHECK, fault.to_string())).collect(),
    };
    let live = match request::get(&node, "/livez", HeaderMap::new()).await {
        Ok(live) => live,
        Err(why) => {
            return vec![
                Finding::warn(CHECK, format!("no gate runs here, by admin.address: {why}"))
                    .fix(start_it(in_kubernetes())),
            ];
        }
    };
    let (ready, metrics, running) = tokio::join!(
        request::get(&node, "/readyz", HeaderMap::new()),
        request::get(&node, "/metrics", HeaderMap::new()),
        running(&node, config)
    );
    let mut findings = judge_health(&address.to_string(), &live, ready.as_ref());
    findings.extend(metrics.iter().flat_map(|page| judge_metrics(&page.text())));
    findings.push(match running {
        Ok(running) => judge_running(&running, config),
        Err(why) => Finding::skip(CHECK, why),
    });
    findings
}

const fn start_it(in_kubernetes: bool) -> &'static str {
    match in_kubernetes {
        true => "start it, or run this where it runs: kubectl exec POD -c tidegate -- /tidegate doctor",
        false => "start it, or run this where it runs",
    }
}

fn judge_health(address: &str, live: &Answer, ready: Result<&Answer, &String>) -> Vec<Finding> {
    if live.status == StatusCode::SERVICE_UNAVAILABLE {
        let found = format!("the gate at {address} is stuck: /livez answers {}", live.brief());
        return vec![Finding::fail(CHECK, found).fix("start it again, and keep its log")];
    }
    let ready = match ready {
        Ok(ready) => ready,
        Err(why) => {
            return vec![Finding::fail(
                CHECK,
                format!("the gate at {address} does not say whether it is ready: {why}"),
            )];
        }
    };
    let Ok(readiness) = serde_json::from_slice::<Readiness>(&ready.body) else {
        return vec![Finding::fail(
            CHECK,
            format!("what answers at {address} (admin.address) is no gate: {}", ready.status),
        )];
    };
    judge_readiness(address, &readiness)
}

fn judge_readiness(address: &str, readiness: &Readiness) -> Vec<Finding> {
    let said = |condition: &Condition| {
        let why = condition.why.as_deref().unwrap_or("no reason is given");
        format!("{}: {why}", condition.name)
    };
    let failing = readiness.conditions.iter().filter(|condition| !condition.ok);
    let failing = failing.map(|condition| match condition.required {
        true => Finding::fail(CHECK, format!("the gate is not ready, {}", said(condition))),
        false => Finding::warn(CHECK, format!("the gate is ready, but {}", said(condition))),
    });
    let failing: Vec<_> = failing.collect();
    match readiness.ready {
        true if failing.is_empty() => vec![Finding::ok(CHECK, format!("the gate at {address} runs and is ready"))],
        false if failing.is_empty() => vec![Finding::fail(CHECK, format!("the gate at {address} is not ready"))],
        _ => failing,
    }
}

/// What everybody may read, also where the rest is off.
fn judge_metrics(page: &str) -> Vec<Finding> {
    let own = env!("CARGO_PKG_VERSION");
    let sample =
        |name: &str| page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok());
    let version = page.lines().find_map(|line| line.strip_prefix("tidegate_build_info{version=\"")?.split('"').next());
    let mut findings = Vec::new();
    if let Some(version) = version.filter(|version| *version != own) {
        let found = format!("the gate that runs is Tidegate {version}, and this program is {own}");
        findings.push(Finding::warn(CHECK, found).fix("was an update not finished? Use the program of the gate"));
    }
    for (name, what) in [("config", "configuration"), ("certificate", "certificates")] {
        let succeeded: Option<f64> = sample(&format!("tidegate_{name}_reload_success"));
        if succeeded == Some(0.0) {
            let found = format!("the last reload of the {what} failed: the gate runs with earlier ones");
            findings
                .push(Finding::fail(CHECK, found).fix("see the line \"configuration\" here, or the log of the gate"));
        }
    }
    findings
}

/// The configuration in force, which operators alone may read. Why it is not known.
async fn running(node: &Dialler, config: &Config) -> Result<Config, String> {
    let token =
        survey::admin_token(config).map_err(|fault| format!("the running configuration is not compared: {fault}"))?;
    let mut headers = HeaderMap::new();
    if let Some(token) = token {
        let bearer = HeaderValue::from_bytes(&[b"Bearer ", token.expose()].concat());
        let mut bearer = bearer.map_err(|_| "admin.token has characters that cannot be sent".to_owned())?;
        bearer.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, bearer);
    }
    let answer = request::get(node, "/config", headers).await?;
    match answer.status {
        StatusCode::OK => {
            let loaded = Loaded::of_text("/config", &answer.text());
            loaded
                .map(|loaded| loaded.config)
                .map_err(|_| "the running configuration is that of another version".to_owned())
        }
        StatusCode::UNAUTHORIZED => {
            Err("the running configuration is not compared: the gate has another admin.token".to_owned())
        }
        status => Err(format!(
            "the running configuration is not compared: /config answers {status}; it is shown with an admin.token alone, or where \
             admin.address is loopback"
        )),
    }
}

fn judge_running(running: &Config, file: &Config) -> Finding {
    let Changes { now, at_start, .. } = Changes::between(running, file);
    let both = |word: &str, keys: &[String]| format!("{word} differ: {}", keys.join(", "));
    match (now.is_empty(), at_start.is_empty()) {
        (true, true) => Finding::ok(CHECK, "the running configuration is that of these sources"),
        (true, false) => {
            Finding::warn(CHECK, both("keys of the running configuration that take effect at a start", &at_start))
                .fix("start the gate again")
        }
        (false, _) => {
            let keys = [now, at_start].concat();
            Finding::warn(CHECK, both("keys of the running configuration", &keys))
                .fix("was the last reload refused (see its log), or has the gate other variables or options than this command?")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Status::{self, Fail, Ok as Fine, Warn};

    fn statuses(findings: &[Finding]) -> Vec<Status> {
        findings.iter().map(|finding| finding.status).collect()
    }

    #[test]
    fn each_failing_condition_is_told() {
        let condition = |name: &str, ok, required| Condition {
            name: name.to_owned(),
            ok,
            required,
            why: (!ok).then(|| "refused".to_owned()),
        };
        for (ready, conditions, expected) in [
            (true, vec![condition("keys", true, true)], &[Fine][..]),
            (false, vec![condition("keys", false, true), condition("redis", false, false)], &[Fail, Warn]),
            (true, vec![condition("keys", true, true), condition("upstream", false, false)], &[Warn]),
            (false, vec![], &[Fail]),
        ] {
            let findings = judge_readiness("127.0.0.1:9464", &Readiness { ready, conditions });
            assert_eq!(statuses(&findings), expected, "{findings:?}");
        }
    }

    #[test]
    fn another_version_and_a_reload_that_failed_are_told() {
        let page = |version: &str, reload: u8| {
            format!(
                "# HELP x y\ntidegate_build_info{{version=\"{version}\"}} 1\ntidegate_config_reload_success {reload}\n"
            )
        };
        let own = env!("CARGO_PKG_VERSION");
        for (page, expected) in
            [(page(own, 1), &[][..]), (page("0.0.9", 1), &[Warn]), (page(own, 0), &[Fail]), (String::new(), &[])]
        {
            assert_eq!(statuses(&judge_metrics(&page)), expected, "{page}");
        }
    }

    #[test]
    fn what_differs_is_told_by_its_key() {
        let file = Config::default();
        assert_eq!(judge_running(&file, &file).status, Fine);
        let (mut reloaded, mut started) = (Config::default(), Config::default());
        reloaded.limits.connections = 7;
        started.listen.workers = 7;
        for (running, part) in
            [(reloaded, "differ: limits.connections"), (started, "at a start differ: listen.workers")]
        {
            let finding = judge_running(&running, &file);
            assert_eq!(finding.status, Warn);
            assert!(finding.found.contains(part), "{finding:?}");
        }
    }
}
