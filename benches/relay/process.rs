//! Children of the benchmark: the echo, the proxies and the load, each on its core.

use std::{
    env, io,
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// Where the proxy runs.
const PROXY_CORE: &str = "0";
/// Where everything else runs.
const LOAD_CORE: &str = "1";
/// How long a proxy may take to listen; under callgrind it starts slowly.
const START_PATIENCE: Duration = Duration::from_secs(60);

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

    /// Another program that will listen on `port`, beside the load.
    pub(crate) fn beside_load(program: &[String], port: u16) -> io::Result<Self> {
        Self::start(LOAD_CORE, program, port, None)
    }

    /// A proxy that will listen on `port` and keeps its files in `dir`.
    pub(crate) fn proxy(program: &[String], port: u16, dir: TempDir) -> io::Result<Self> {
        Self::start(PROXY_CORE, program, port, Some(dir))
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

/// The load. The caller reads its output.
pub(crate) fn load(args: &[String]) -> io::Result<Child> {
    let args: Vec<String> = ["load".to_owned()].into_iter().chain(args.iter().cloned()).collect();
    role_of_load(&args)
}

/// This program in the role that `args` begin with, where the load runs. The caller reads its output.
pub(crate) fn role_of_load(args: &[String]) -> io::Result<Child> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    pinned(LOAD_CORE, &own_role(&args)?).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

/// Where a program is.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // Debian keeps daemons where users do not look.
    let dirs = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    dirs.map(|dir| dir.join(program)).find(|path| path.is_file())
}

/// This program in another role.
pub(crate) fn own_role(args: &[&str]) -> io::Result<Vec<String>> {
    let program = env::current_exe()?.display().to_string();
    Ok([program].into_iter().chain(args.iter().map(|arg| (*arg).to_owned())).collect())
}

fn pinned(core: &str, program: &[String]) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", core]).args(program);
    command
}

/// A port without a listener.
pub(crate) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
