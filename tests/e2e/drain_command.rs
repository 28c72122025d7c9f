//! `tidegate drain`: a node leaves in order, and what has to live as long as its clients do is told when the last has gone.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    task::JoinHandle,
};

use crate::support::{
    Client, Gate, Redis, Service,
    departure::{self, are_sent_away, clients, why_not_ready},
    eventually,
    http::{self, Reply},
    json, process, soon,
    tidegate::PROGRAM,
    token,
};

/// The program as a file of its own, which no other test runs.
struct Program {
    _folder: TempDir,
    file: PathBuf,
}

impl Program {
    fn new() -> Self {
        // A link cannot lead to another file system.
        let folder = TempDir::new_in(Path::new(PROGRAM).parent().unwrap()).unwrap();
        let file = folder.path().join("tidegate");
        fs::hard_link(PROGRAM, &file).unwrap();
        Self { _folder: folder, file }
    }

    /// Begins `drain` with these arguments.
    fn drain(&self, arguments: &[&str]) -> Child {
        process::spawn(Command::new(&self.file).arg("drain").args(arguments))
    }
}

/// How it ended: exit code, standard output, standard error.
async fn outcome(child: Child) -> (Option<i32>, String, String) {
    let output = soon("the command ends", child.wait_with_output()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Asks `/drained`, as a preStop hook of the service does.
fn asks(gate: &Gate) -> JoinHandle<Reply> {
    let url = gate.admin_url("/drained");
    tokio::spawn(async move { http::get(&url).await })
}

/// In the order of a pod: both hooks begin at once, the service lives until its clients have gone, and the gate is ended last.
#[tokio::test]
async fn a_sidecar_leaves_before_its_service_does() {
    let program = Program::new();
    let mut service = Service::start().await;
    let times = "limits.lame_duck = \"15s\"\nlimits.shutdown_grace = \"2s\"";
    let mut gate = Gate::before(&service).with(times).by(&program.file).await;
    let mut clients = departure::clients(&gate, 6).await;
    let hook_of_service = asks(&gate);

    let command = program.drain(&[]);

    assert_eq!(why_not_ready(&gate).await, "SIGUSR1 has come; new clients are served for 15s, then none");
    clients.extend(departure::clients(&gate, 1).await);
    for (number, client) in clients.iter().enumerate() {
        assert_eq!(client.ask("echo", json!([number])).await, number, "new and old ones are served");
    }
    assert!(!hook_of_service.is_finished(), "its clients are there");

    are_sent_away(&clients).await;
    assert!(service.is_running());
    let (code, stdout, stderr) = outcome(command).await;
    let pid = gate.pid();
    let said = format!(
        "process {pid} is not ready any more, and serves on for limits.lame_duck\n\
         process {pid} takes no new clients, and closes the others within limits.shutdown_grace\n\
         process {pid} is drained: no client is left\n"
    );
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (Some(0), said.as_str(), ""));
    let reply = soon("the hook of the service ends", hook_of_service).await.unwrap();
    assert_eq!((reply.status, reply.text()), (200, "drained\n"));
    eventually("the service has seen them off", async || {
        (service.seen().await["disconnects"].as_array().unwrap().len() == 7).then_some(())
    })
    .await;
    service.stop().await;

    assert!(gate.is_running());
    gate.log().wait(&["the process stays, without clients, until SIGTERM or SIGINT"]).await;
    TcpStream::connect(gate.address).await.expect_err("a client goes to another node at once");
    assert_eq!(why_not_ready(&gate).await, "the node is drained: it has no clients and takes none; SIGTERM ends it");
    for (path, status) in [("/livez", 200), ("/drained", 200), ("/metrics", 200), ("/sessions", 200)] {
        assert_eq!(http::get(&gate.admin_url(path)).await.status, status, "{path}");
    }
    gate.counts(0.0, "websocket_connections_total", &[]).await;
    let (code, stdout, _) = outcome(program.drain(&[])).await;
    assert_eq!((code, stdout), (Some(0), format!("process {pid} is drained already\n")));

    gate.signal("TERM");

    assert_eq!(gate.exit().await, Some(0));
    for line in ["drained in", "the process ends as soon as it is drained", "stopped"] {
        assert_eq!(gate.log().wait_for(1, &[line]).await.len(), 1, "{line}");
    }
}

/// A pod whose grace period is short is sent SIGTERM while its hooks still run.
#[tokio::test]
async fn sigterm_during_the_drain_takes_none_of_its_time_and_the_one_after_it_does() {
    let service = Service::start().await;
    for hurry in [false, true] {
        let grace = if hurry { "10m" } else { "12s" };
        let mut gate = Gate::before(&service).with(&format!("limits.shutdown_grace = {grace:?}")).await;
        let clients = clients(&gate, 4).await;
        let hook_of_service = asks(&gate);
        gate.signal("USR1");
        gate.log().wait(&["draining: no new clients"]).await;

        gate.signal("TERM");

        gate.log().wait(&["the process ends as soon as it is drained"]).await;
        if hurry {
            gate.signal("TERM");
            gate.log().wait(&["clients are disconnected within 2s"]).await;
        }
        are_sent_away(&clients).await;
        assert_eq!(gate.exit().await, Some(0));
        assert_eq!(soon("the hook ends", hook_of_service).await.unwrap().status, 200, "it is answered before the end");
        gate.log().wait(&["stopped"]).await;
        let stages = gate.log().containing("draining: no new clients").len();
        assert_eq!(stages, if hurry { 2 } else { 1 }, "the grace is what it was");
        assert!(gate.log().containing("the process stays").is_empty());
    }
}

/// The service stores each event before it answers: what a client was told is there.
#[tokio::test]
async fn no_event_that_was_acknowledged_is_lost() {
    let folder = TempDir::new().unwrap();
    let journal = folder.path().join("journal");
    let service = Service::with(&[("JOURNAL", journal.to_str().unwrap())]).await;
    let times = "limits.shutdown_grace = \"3s\"\nlimits.lame_duck = \"500ms\"";
    let mut gate = Gate::before(&service).with(times).with("rate_limit = []").await;
    let clients = clients(&gate, 4).await;
    // The first of each, as the node may leave before a busy machine has let a client speak.
    for (name, client) in clients.iter().enumerate() {
        client.ask("step", json!([{ "client": name, "seq": 0 }])).await;
    }
    let says = async |client: &Client, name: usize| {
        let mut acknowledged = 1;
        while client.ask_within(10_000, "step", json!([{ "client": name, "seq": acknowledged }])).await.is_ok() {
            acknowledged += 1;
        }
        acknowledged
    };
    let [a, b, c, d] = &clients[..] else { unreachable!("there are four") };

    gate.signal("USR1");

    let told = tokio::join!(says(a, 0), says(b, 1), says(c, 2), says(d, 3));
    gate.log().wait(&["the process stays"]).await;
    let stored = fs::read_to_string(&journal).unwrap();
    for (name, acknowledged) in [told.0, told.1, told.2, told.3].into_iter().enumerate() {
        for seq in 0..acknowledged {
            assert!(stored.lines().any(|line| line == format!("{name} {seq}")), "{name} {seq}");
        }
    }
    gate.signal("TERM");
    assert_eq!(gate.exit().await, Some(0));
}

#[tokio::test]
async fn of_several_nodes_one_has_to_be_named() {
    let (program, service) = (Program::new(), Service::start().await);
    let (code, _, stderr) = outcome(program.drain(&[])).await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("no node runs here") && stderr.contains("--pid PID"), "{stderr}");

    let a = Gate::before(&service).by(&program.file).await;
    let b = Gate::before(&service).by(&program.file).await;
    let (pid, other) = (a.pid().to_string(), b.pid().to_string());
    let (code, _, stderr) = outcome(program.drain(&[])).await;
    assert_eq!(code, Some(2));
    for pid in [&pid, &other] {
        assert!(stderr.contains(&format!("--pid {pid}  (")) && stderr.contains("run --config"), "{stderr}");
    }

    let (code, stdout, stderr) = outcome(program.drain(&["--pid", &pid])).await;

    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert!(stdout.ends_with(&format!("process {pid} is drained: no client is left\n")), "{stdout}");
    assert_eq!(http::get(&a.admin_url("/drained")).await.status, 200);
    assert_eq!(http::get(&b.admin_url("/readyz")).await.status, 200, "the other serves");
}

/// As with `hostPID`: containers see each other's processes, and each has its own view of file systems.
#[tokio::test]
async fn of_the_nodes_of_several_containers_that_of_this_one_leaves() {
    let (program, service) = (Program::new(), Service::start().await);
    let container = program.file.with_file_name("container");
    let script = format!("#!/bin/sh\nexec unshare --map-root-user --mount {} \"$@\"\n", program.file.display());
    fs::write(&container, script).unwrap();
    fs::set_permissions(&container, fs::Permissions::from_mode(0o755)).unwrap();
    let own = Gate::before(&service).by(&program.file).await;
    let other = Gate::before(&service).by(&container).await;
    let file = fs::read_link(format!("/proc/{}/exe", other.pid())).unwrap();
    assert_eq!(file.file_name(), program.file.file_name(), "it has become the node");

    let (code, stdout, stderr) = outcome(program.drain(&[])).await;

    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert!(stdout.ends_with(&format!("process {} is drained: no client is left\n", own.pid())), "{stdout}");
    assert_eq!(http::get(&other.admin_url("/readyz")).await.status, 200, "the other serves");
}

/// The default action of the signal is to end a process.
#[tokio::test]
async fn nothing_but_a_node_is_sent_the_signal() {
    let (program, mut service) = (Program::new(), Service::start().await);
    let pid = service.pid().to_string();
    let (code, _, stderr) = outcome(program.drain(&["--pid", &pid])).await;
    assert_eq!(code, Some(2));
    assert!(stderr.contains(&format!("process {pid} is no `tidegate run`")), "{stderr}");
    assert!(service.is_running());
}

/// Somebody else has asked it to end: it does, and the command waits for that.
#[tokio::test]
async fn a_node_that_ends_is_waited_for() {
    let (program, service) = (Program::new(), Service::start().await);
    let mut gate = Gate::before(&service).with("limits.shutdown_grace = \"12s\"").by(&program.file).await;
    let clients = clients(&gate, 3).await;
    gate.signal("TERM");
    gate.log().wait(&["draining: no new clients"]).await;

    let (code, _, stderr) = outcome(program.drain(&[])).await;

    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    are_sent_away(&clients).await;
    assert_eq!(gate.exit().await, Some(0), "it does not stay");
    assert_eq!(gate.log().containing("draining: no new clients").len(), 1, "it is no second signal");
}

/// What the service has said last is on its way before anybody hears that the node is drained.
#[tokio::test]
async fn the_last_events_are_published_before_the_node_is_drained() {
    const EVENTS: usize = 50;
    let (redis, near_service, far_service) = (Redis::start().await, Service::start().await, Service::start().await);
    let settings = format!(
        "redis.url = {:?}\nlimits.shutdown_grace = \"0s\"\n[[room]]\nname = \"user:{{claims.sub}}\"\n\
         [[mirror]]\nevent = \"tutor:message\"\nroom = \"user:{{claims.sub}}\"",
        redis.url()
    );
    let mut a = Gate::before(&near_service).with(&settings).await;
    let b = Gate::before(&far_service).with(&settings).await;
    let (near, far) = (a.client(token("ada")).await, b.client(token("ada")).await);
    eventually("the nodes hear each other", async || {
        near_service.emit("ada", "tutor:message", json!(["hello"])).await;
        near.next("tutor:message").await;
        (far.untaken("tutor:message") > 0).then_some(())
    })
    .await;
    for number in 0..EVENTS {
        near_service.emit("ada", "tutor:message", json!([number])).await;
    }
    for number in 0..EVENTS {
        assert_eq!(near.next("tutor:message").await, json!([number]));
    }

    a.signal("USR1");

    assert_eq!(http::get(&a.admin_url("/drained")).await.status, 200);
    while far.next("tutor:message").await != json!([EVENTS - 1]) {}
    assert!(a.is_running());
    a.signal("TERM");
    assert_eq!(a.exit().await, Some(0));
    a.log().wait(&["stopped"]).await;
    assert!(a.log().containing("were not published").is_empty());
}
