//! The proxies that are compared, each with one worker and a generated configuration.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    client::SECRET,
    process::{self, Process},
    tls::Certificate,
};

/// The program of the server that [`Setup::redis`] is.
const REDIS: &str = "redis-server";

/// One proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// The reference: copies bytes.
    L4,
    /// With all policy on.
    Tidegate,
    /// The same, connected to Redis, with a rule that no event matches.
    Mirroring,
    /// Another build of it.
    Other,
    /// As packaged.
    Nginx,
    /// As packaged.
    Haproxy,
}

/// What all of them are started with.
#[derive(Debug)]
pub(crate) struct Setup {
    /// Tidegate's program.
    pub(crate) gate: PathBuf,
    /// That of another build.
    pub(crate) other: Option<PathBuf>,
    /// A server that stores nothing, beside the load. `None`: the machine has none.
    pub(crate) redis: Option<Process>,
    /// Who they are where clients come over TLS.
    pub(crate) certificate: Certificate,
}

/// Where one listens, and what is behind it.
struct Place<'a> {
    port: u16,
    upstream: u16,
    /// The file with its certificate and key. None: plain.
    pair: Option<String>,
    dir: &'a Path,
}

impl Setup {
    /// With these programs, and Redis where the machine has it.
    pub(crate) fn new(gate: PathBuf, other: Option<PathBuf>) -> io::Result<Self> {
        let redis = process::find(REDIS).map(|_| redis()).transpose()?;
        Ok(Self { gate, other, redis, certificate: Certificate::issue()? })
    }
}

fn redis() -> io::Result<Process> {
    let port = process::free_port()?;
    let program = format!("{REDIS} --port {port} --bind 127.0.0.1 --appendonly no --save");
    let program: Vec<String> = program.split(' ').map(str::to_owned).chain([String::new()]).collect();
    Process::beside_load(&program, port)
}

/// What makes of Tidegate one node of several: with a rule, although nothing that the benchmark sends matches it.
pub(crate) fn redis_table(port: u16) -> String {
    format!("[redis]\nurl = \"redis://127.0.0.1:{port}\"\n[[mirror]]\nevent = \"never\"\nroom = \"*\"\n")
}

impl Peer {
    /// The reference first.
    pub(crate) const ALL: [Self; 6] =
        [Self::L4, Self::Tidegate, Self::Mirroring, Self::Other, Self::Nginx, Self::Haproxy];

    /// As the report has it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::L4 => "l4",
            Self::Tidegate => "tidegate",
            Self::Mirroring => "tidegate, redis",
            Self::Other => "other build",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }

    /// Ours are; the others where the machine has them.
    pub(crate) fn is_installed(self) -> bool {
        match self {
            Self::L4 | Self::Tidegate | Self::Other => true,
            Self::Mirroring => process::find(REDIS).is_some(),
            Self::Nginx | Self::Haproxy => process::find(self.name()).is_some(),
        }
    }

    /// Starts it before the echo on `upstream` and waits until it listens. `under`: a program to run it under, with
    /// arguments.
    pub(crate) fn start(self, upstream: u16, setup: &Setup, tls: bool, under: &[String]) -> io::Result<Process> {
        let table = match &setup.redis {
            Some(redis) if self == Self::Mirroring => redis_table(redis.port),
            _ => String::new(),
        };
        self.start_with(upstream, setup, tls, under, &table)
    }

    /// The same with more at the end of its configuration.
    pub(crate) fn start_with(
        self,
        upstream: u16,
        setup: &Setup,
        tls: bool,
        under: &[String],
        more: &str,
    ) -> io::Result<Process> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("configuration");
        let pair = tls.then(|| setup.certificate.file().display().to_string());
        let place = Place { port: process::free_port()?, upstream, pair, dir: dir.path() };
        fs::write(&file, self.configuration(&place)? + more)?;
        let mut program = under.to_vec();
        program.extend(self.program(setup, &file.display().to_string(), &place)?);
        let port = place.port;
        Process::proxy(&program, port, dir)
    }

    fn program(self, setup: &Setup, file: &str, place: &Place<'_>) -> io::Result<Vec<String>> {
        let gate = |program: &Path| [&program.display().to_string(), "run", "--config", file].map(str::to_owned).into();
        Ok(match self {
            Self::L4 => {
                let (port, upstream) = (place.port.to_string(), place.upstream.to_string());
                let mut role = vec!["l4", &port, &upstream];
                role.extend(place.pair.as_deref());
                process::own_role(&role)?
            }
            Self::Tidegate | Self::Mirroring => gate(&setup.gate),
            Self::Other => gate(setup.other.as_deref().unwrap_or(&setup.gate)),
            Self::Nginx => vec![self.installed()?, "-c".into(), file.into()],
            Self::Haproxy => vec![self.installed()?, "-db".into(), "-f".into(), file.into()],
        })
    }

    fn installed(self) -> io::Result<String> {
        let program =
            process::find(self.name()).ok_or_else(|| io::Error::other(format!("{} is not installed", self.name())))?;
        Ok(program.display().to_string())
    }

    fn configuration(self, place: &Place<'_>) -> io::Result<String> {
        match self {
            Self::L4 => Ok(String::new()),
            Self::Tidegate | Self::Mirroring | Self::Other => tidegate(place),
            Self::Nginx => Ok(nginx(place)),
            Self::Haproxy => Ok(haproxy(place)),
        }
    }
}

fn tidegate(Place { port, upstream, pair, dir }: &Place<'_>) -> io::Result<String> {
    let secret = dir.join("secret");
    fs::write(&secret, SECRET)?;
    let tls = pair.as_ref().map_or_else(String::new, |pair| {
        format!("handshakes_per_ip = 100000\n[tls]\ncertificate = {pair:?}\nprivate_key = {pair:?}\n")
    });
    // Compared with proxies that log nothing of a connection, so neither does it.
    Ok(format!(
        "[listen]\naddress = \"127.0.0.1:{port}\"\nworkers = 1\n\
         [admin]\naddress = \"127.0.0.1:{admin}\"\n\
         [upstream]\nurl = \"http://127.0.0.1:{upstream}\"\n\
         [auth]\nsecret = {{ file = {secret:?} }}\n\
         [[rate_limit]]\nmessages = 1000000\nper = \"1s\"\n\
         [log]\nlevel = \"warn\"\n\
         [limits]\nconnections_per_ip = 100000\n{tls}",
        admin = process::free_port()?,
    ))
}

fn nginx(Place { port, upstream, pair, dir }: &Place<'_>) -> String {
    let (ssl, tls) = pair.as_ref().map_or_else(Default::default, |pair| {
        ("ssl", format!("ssl_certificate {pair}; ssl_certificate_key {pair}; ssl_protocols TLSv1.3;"))
    });
    format!(
        "daemon off; master_process off; worker_processes 1; pid {dir}/pid; error_log stderr crit;\n\
         events {{ worker_connections 20000; }}\n\
         http {{ access_log off; client_body_temp_path {dir}; proxy_temp_path {dir}; fastcgi_temp_path {dir};\n\
         uwsgi_temp_path {dir}; scgi_temp_path {dir};\n\
         server {{ listen 127.0.0.1:{port} {ssl} backlog=4096; {tls} location / {{\n\
         proxy_pass http://127.0.0.1:{upstream}; proxy_http_version 1.1; proxy_read_timeout 1h;\n\
         proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }} }} }}\n",
        dir = dir.display(),
    )
}

fn haproxy(Place { port, upstream, pair, .. }: &Place<'_>) -> String {
    let tls = pair.as_ref().map_or_else(String::new, |pair| format!("ssl crt {pair} ssl-min-ver TLSv1.3"));
    format!(
        "global\n nbthread 1\n maxconn 9000\n\
         defaults\n mode http\n timeout connect 5s\n timeout client 1h\n timeout server 1h\n timeout tunnel 1h\n\
         frontend f\n bind 127.0.0.1:{port} backlog 4096 {tls}\n default_backend b\n\
         backend b\n server s 127.0.0.1:{upstream}\n"
    )
}
