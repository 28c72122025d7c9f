//! What a check has found, and how it is told.

use std::{fmt::Write as _, time::SystemTime};

use serde::Serialize;

use crate::cli::{failure::Exit, output::clean};

/// The check whose failure has an exit code of its own.
pub(super) const CONFIGURATION: &str = "configuration";

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// Not looked at, and why.
    Skip,
    /// As it should be.
    Ok,
    /// It works, and may not be meant, or may not work for long.
    Warn,
    /// Something does not work, or clients were seen to have a way around the gate.
    Fail,
}

impl Status {
    const fn name(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) check: &'static str,
    pub(super) status: Status,
    pub(super) found: String,
    /// What to do. `None` where nothing is to be done, or where `found` says it.
    pub(super) fix: Option<String>,
}

impl Finding {
    pub(super) fn skip(check: &'static str, why: impl Into<String>) -> Self {
        Self { check, status: Status::Skip, found: why.into(), fix: None }
    }

    pub(super) fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, status: Status::Ok, found: found.into(), fix: None }
    }

    pub(super) fn warn(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, status: Status::Warn, found: found.into(), fix: None }
    }

    pub(super) fn fail(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, status: Status::Fail, found: found.into(), fix: None }
    }

    /// The same, with what to do.
    pub(super) fn fix(self, fix: impl Into<String>) -> Self {
        Self { fix: Some(fix.into()), ..self }
    }

    fn line(&self) -> String {
        let mut line = format!("{:<4}  {:<13}  {}", self.status.name(), self.check, self.found);
        if let Some(fix) = &self.fix {
            // Writing to a string does not fail.
            let _ = write!(line, "; {fix}");
        }
        clean(&line)
    }
}

/// The clock of another machine, seen between two moments of this one's.
#[derive(Debug, Clone)]
pub(super) struct Sighting {
    /// Whose clock it is.
    pub(super) whose: String,
    pub(super) before: SystemTime,
    /// Not before this moment ...
    pub(super) said: SystemTime,
    pub(super) after: SystemTime,
    /// ... and not after the second that follows it, as HTTP writes dates.
    pub(super) to_the_second: bool,
}

/// What one check came to.
#[derive(Debug, Default)]
pub(super) struct Checked {
    pub(super) findings: Vec<Finding>,
    /// The clock that was seen beside it.
    pub(super) sighting: Option<Sighting>,
}

impl From<Finding> for Checked {
    fn from(finding: Finding) -> Self {
        vec![finding].into()
    }
}

impl From<Vec<Finding>> for Checked {
    fn from(findings: Vec<Finding>) -> Self {
        Self { findings, sighting: None }
    }
}

/// All lines, in their order.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The worst of all.
    status: Status,
    checks: Vec<Finding>,
}

impl Report {
    pub(super) fn of(checks: Vec<Finding>) -> Self {
        let worst = checks.iter().map(|finding| finding.status).max().unwrap_or(Status::Ok);
        Self { status: worst.max(Status::Ok), checks }
    }

    /// A line for each finding.
    pub(super) fn text(&self) -> String {
        self.checks.iter().map(|finding| finding.line() + "\n").collect()
    }

    pub(super) fn json(&self) -> String {
        serde_json::to_string_pretty(self).map_or_else(|error| error.to_string(), |json| json + "\n")
    }

    /// A mistake in the configuration is told as such, whatever else has failed.
    pub(super) fn exit(&self) -> Exit {
        let failed = |finding: &&Finding| finding.status == Status::Fail;
        match self.checks.iter().find(failed) {
            None => Exit::Fine,
            Some(_) if self.checks.iter().filter(failed).any(|finding| finding.check == CONFIGURATION) => {
                Exit::Configuration
            }
            Some(_) => Exit::Failed,
        }
    }
}

/// Whether this is a process in a pod.
pub(super) fn in_kubernetes() -> bool {
    // The kubelet sets it in every container.
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_is_one_line_with_what_to_do() {
        let found = Finding::fail("bypass", "10.0.0.7:4003 answers\nat once").fix("bind it to 127.0.0.1");
        let report = Report::of(vec![found, Finding::ok("node", "it runs")]);
        let lines = "fail  bypass         10.0.0.7:4003 answers\u{fffd}at once; bind it to 127.0.0.1\n\
                     ok    node           it runs\n";
        assert_eq!(report.text(), lines);
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!((&json["status"], &json["checks"][0]["fix"]), (&"fail".into(), &"bind it to 127.0.0.1".into()));
        assert_eq!(json["checks"][1], serde_json::json!({"check":"node","status":"ok","found":"it runs","fix":null}));
    }

    #[test]
    fn the_exit_code_is_that_of_the_worst_and_of_the_configuration_first() {
        let (ok, warn, skip) = (Finding::ok("a", ""), Finding::warn("b", ""), Finding::skip("c", ""));
        let (fail, wrong) = (Finding::fail("d", ""), Finding::fail(CONFIGURATION, ""));
        for (findings, status, exit) in [
            (vec![skip.clone()], Status::Ok, Exit::Fine),
            (vec![ok.clone(), skip], Status::Ok, Exit::Fine),
            (vec![ok.clone(), warn], Status::Warn, Exit::Fine),
            (vec![ok.clone(), fail.clone()], Status::Fail, Exit::Failed),
            (vec![fail, wrong, ok], Status::Fail, Exit::Configuration),
        ] {
            let report = Report::of(findings);
            assert_eq!((report.status, report.exit()), (status, exit), "{report:?}");
        }
    }
}
