//! Chromium without a screen, showing pages of the stand-in service.

use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::{
    Value, eventually, json,
    process::{self, Lines},
    service::Service,
};

/// A running browser, with a profile of its own; it ends with the value.
#[derive(Debug)]
pub(crate) struct Browser {
    log: Lines,
    child: Child,
    _profile: TempDir,
}

/// Its helpers write to the profile for as long as they run.
impl Drop for Browser {
    fn drop(&mut self) {
        self.log.tell_if_failing("Chromium");
        let Some(group) = self.child.id() else { return };
        let kill = format!("kill -s KILL -- -{group}");
        let killed = std::process::Command::new("sh").args(["-c", &kill]).status();
        assert!(killed.is_ok_and(|status| status.success()) || std::thread::panicking(), "{kill}");
    }
}

/// A page with the stock client: see `tests/upstream/page.html`.
#[derive(Debug)]
pub(crate) struct Page {
    name: &'static str,
    target: String,
    sandboxed: bool,
}

impl Page {
    /// The page at `url`, which connects over these transports. What happened is told to `service`.
    pub(crate) fn new(name: &'static str, url: &str, transports: &str, service: &Service) -> Self {
        let query = format!("name={name}&report={}&transports={transports}", service.url());
        Self { name, target: format!("{url}/page?{query}"), sandboxed: false }
    }

    /// It connects to this gate, not to where it comes from.
    pub(crate) fn connecting_to(mut self, url: &str) -> Self {
        self.target.push_str(&format!("&gate={url}"));
        self
    }

    /// It says who it is.
    pub(crate) fn with_token(mut self, token: &str) -> Self {
        self.target.push_str(&format!("&token={token}"));
        self
    }

    /// It connects a second time.
    pub(crate) fn twice(mut self) -> Self {
        self.target.push_str("&again");
        self
    }

    /// It is in a frame that gives it no origin.
    pub(crate) fn sandboxed(self) -> Self {
        Self { sandboxed: true, ..self }
    }

    fn frame(&self) -> Value {
        if self.sandboxed {
            json!({ "src": self.target, "sandbox": "allow-scripts" })
        } else {
            json!({ "src": self.target })
        }
    }
}

impl Browser {
    /// Shows the pages, each in a frame of a page at `url`, and waits until all have told `service` what happened.
    pub(crate) async fn shows(url: &str, pages: &[Page], service: &Service) -> Value {
        let frames = Value::Array(pages.iter().map(Page::frame).collect()).to_string();
        let frames: String = frames.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let _browser = Self::open(&format!("{url}/frames?frames={frames}"));
        eventually("the browser has started", async || {
            let seen = service.seen().await;
            let asked = seen["http"].as_array().unwrap().iter();
            asked.filter_map(|request| request["url"].as_str()).any(|url| url.starts_with("/frames")).then_some(())
        })
        .await;
        for Page { name, .. } in pages {
            eventually(&format!("the page `{name}` tells what happened"), async || {
                (!service.seen().await["reports"][name].is_null()).then_some(())
            })
            .await;
        }
        service.seen().await["reports"].clone()
    }

    fn open(url: &str) -> Self {
        let profile = TempDir::new().unwrap();
        let mut command = Command::new("chromium");
        command.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            // Certificates of tests.
            "--ignore-certificate-errors",
            // All names of examples are here.
            "--host-resolver-rules=MAP *.example 127.0.0.1",
        ]);
        command.arg(format!("--user-data-dir={}", profile.path().display())).arg(url);
        // With a group of its own, and all that it leaves in one folder.
        command.process_group(0).env("TMPDIR", profile.path());
        let mut child = process::spawn(&mut command);
        // Read, so that it is never kept waiting.
        let log = Lines::of(child.stderr.take().expect("it is piped").into_owned_fd());
        Self { log, child, _profile: profile }
    }
}
