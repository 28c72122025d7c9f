//! Starts each proxy in front of the echo: one worker, on a core of its own, with a generated configuration.

use std::{
    env, fs, io,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::client::SECRET;

/// Where the proxy runs.
const PROXY_CORE: &str = "0";
/// Where everything else runs.
const LOAD_CORE: &str = "1";
/// How long a proxy may take to listen; under callgrind it starts slowly.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// One proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// The reference: copies bytes.
    L4,
    /// With all policy on.
    Tidegate,
    /// As packaged.
    Nginx,
    /// As packaged.
    Haproxy,
}

impl Peer {
    /// The reference first.
    pub(crate) const ALL: [Self; 4] = [Self::L4, Self::Tidegate, Self::Nginx, Self::Haproxy];

    /// As the report has it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::L4 => "l4",
            Self::Tidegate => "tidegate",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }

    /// Ours are; the others where the machine has them.
    pub(crate) fn is_installed(self) -> bool {
        matches!(self, Self::L4 | Self::Tidegate) || find(self.name()).is_some()
    }

    fn installed(self) -> io::Result<String> {
        let program = find(self.name()).ok_or_else(|| io::Error::other(format!("{} is not installed", self.name())))?;
        Ok(program.display().to_string())
    }

    fn configuration(self, port: u16, upstream: u16, dir: &Path) -> io::Result<String> {
        Ok(match self {
            Self::L4 => String::new(),
            Self::Tidegate => {
                let secret = dir.join("secret");
                fs::write(&secret, SECRET)?;
                // Compared with proxies that log nothing of a connection, so neither does it.
                format!(
                    "[listen]\naddress = \"127.0.0.1:{port}\"\nworkers = 1\n\
                     [admin]\naddress = \"127.0.0.1:{admin}\"\n\
                     [upstream]\nurl = \"http://127.0.0.1:{upstream}\"\n\
                     [auth]\nsecret = {{ file = {secret:?} }}\n\
                     [[rate_limit]]\nmessages = 1000000\nper = \"1s\"\n\
                     [limits]\nconnections_per_ip = 100000\n\
                     [log]\nlevel = \"warn\"\n",
                    admin = free_port()?,
                )
            }
            Self::Nginx => format!(
                "daemon off; master_process off; worker_processes 1; pid {dir}/pid; error_log stderr crit;\n\
                 events {{ worker_connections 20000; }}\n\
                 http {{ access_log off; client_body_temp_path {dir}; proxy_temp_path {dir}; fastcgi_temp_path {dir};\n\
                 uwsgi_temp_path {dir}; scgi_temp_path {dir};\n\
                 server {{ listen 127.0.0.1:{port} backlog=4096; location / {{\n\
                 proxy_pass http://127.0.0.1:{upstream}; proxy_http_version 1.1; proxy_read_timeout 1h;\n\
                 proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }} }} }}\n",
                dir = dir.display(),
            ),
            Self::Haproxy => format!(
                "global\n nbthread 1\n maxconn 9000\n\
                 defaults\n mode http\n timeout connect 5s\n timeout client 1h\n timeout server 1h\n timeout tunnel 1h\n\
                 frontend f\n bind 127.0.0.1:{port} backlog 4096\n default_backend b\n\
                 backend b\n server s 127.0.0.1:{upstream}\n"
            ),
        })
    }

    fn program(self, gate: &Path, configuration: &Path, port: u16, upstream: u16) -> io::Result<Vec<String>> {
        let file = configuration.display().to_string();
        Ok(match self {
            Self::L4 => own_role(&["l4", &port.to_string(), &upstream.to_string()])?,
            Self::Tidegate => vec![gate.display().to_string(), "run".into(), "--config".into(), file],
            Self::Nginx => vec![self.installed()?, "-c".into(), file],
            Self::Haproxy => vec![self.installed()?, "-db".into(), "-f".into(), file],
        })
    }

    /// Starts it before the echo on `upstream` and waits until it listens. `under`: a program to run it under, with
    /// arguments.
    pub(crate) fn start(self, upstream: u16, gate: &Path, under: &[String]) -> io::Result<Process> {
        let dir = tempfile::tempdir()?;
        let port = free_port()?;
        let file = dir.path().join("configuration");
        fs::write(&file, self.configuration(port, upstream, dir.path())?)?;
        let mut program = under.to_vec();
        program.extend(self.program(gate, &file, port, upstream)?);
        Process::start(PROXY_CORE, &program, port, Some(dir))
    }
}

/// A child that listens; it ends with its owner.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// On loopback.
    pub(crate) port: u16,
    _dir: Option<TempDir>,
}

impl Process {
    /// The echo, beside the load.
    pub(crate) fn echo() -> io::Result<Self> {
        let port = free_port()?;
        Self::start(LOAD_CORE, &own_role(&["echo", &port.to_string()])?, port, None)
    }

    fn start(core: &str, program: &[String], port: u16, dir: Option<TempDir>) -> io::Result<Self> {
        let child = pinned(core, program).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut process = Self { child, port, _dir: dir };
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = process.child.try_wait()? {
                return Err(io::Error::other(format!("{} ended at once: {status}", program.join(" "))));
            }
            if begin.elapsed() > START_PATIENCE {
                return Err(io::Error::other(format!("{} does not listen", program.join(" "))));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(process)
    }

    /// The process itself: `taskset` has become it.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end and waits until it has.
    pub(crate) fn terminate(mut self) -> io::Result<()> {
        Command::new("kill").args(["-TERM", &self.pid().to_string()]).status()?;
        self.child.wait().map(drop)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The load, whose output is read by who starts it.
pub(crate) fn load(args: &[String]) -> io::Result<Child> {
    let args: Vec<&str> = ["load"].into_iter().chain(args.iter().map(String::as_str)).collect();
    pinned(LOAD_CORE, &own_role(&args)?).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

/// Where a program is.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // Debian keeps daemons where users do not look.
    let dirs = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    dirs.map(|dir| dir.join(program)).find(|path| path.is_file())
}

fn own_role(args: &[&str]) -> io::Result<Vec<String>> {
    let program = env::current_exe()?.display().to_string();
    Ok([program].into_iter().chain(args.iter().map(|arg| (*arg).to_owned())).collect())
}

fn pinned(core: &str, program: &[String]) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", core]).args(program);
    command
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
