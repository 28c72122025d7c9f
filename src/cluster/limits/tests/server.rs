//! A Redis of the test that runs the script by a clock of the test.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use futures_util::{FutureExt as _, future};
use redis::{
    Arg, Client, Cmd, Connection, ConnectionLike as _, Pipeline, RedisFuture, Value, aio::ConnectionLike, cmd,
};
use tempfile::TempDir;

use super::super::script::SCRIPT;
use crate::cluster::members;

/// Stands before the script: the last two arguments are the time. All else is asked of Redis.
const CLOCK: &str = "
local server = redis
local redis = { call = function(name, ...)
  if name == 'TIME' then
    return { ARGV[#ARGV - 1], ARGV[#ARGV] }
  end
  return server.call(name, ...)
end }
";

/// When the clock begins, since 1970.
const BEGIN: Duration = Duration::from_secs(1_700_000_000);

/// How long a server may take to listen, on a busy machine.
const DEADLINE: Duration = Duration::from_secs(40);

/// It ends with the value.
pub(super) struct Server {
    child: Child,
    connection: Connection,
    /// Of the script with its clock.
    digest: String,
    now: Duration,
    prefix: &'static str,
    nodes: usize,
    _folder: TempDir,
}

impl Server {
    /// An empty one, in which so many nodes are alive.
    pub(super) fn start(prefix: &'static str, nodes: usize) -> Self {
        let folder = TempDir::new().unwrap();
        let socket = folder.path().join("redis");
        let mut child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(&socket)
            .arg("--dir")
            .arg(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let mut connection = connect(&socket, &mut child);
        let digest =
            cmd("SCRIPT").arg("LOAD").arg(format!("{CLOCK}{SCRIPT}")).query(&mut connection).expect("it is a script");
        let mut server = Self { child, connection, digest, now: BEGIN, prefix, nodes, _folder: folder };
        server.count_nodes();
        server
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// All data is lost, but nodes write at once that they are alive.
    pub(super) fn flush(&mut self) {
        self.lose();
        self.count_nodes();
    }

    /// All data is lost, and no node has written yet that it is alive.
    pub(super) fn lose(&mut self) {
        cmd("FLUSHALL").exec(&mut self.connection).unwrap();
    }

    fn count_nodes(&mut self) {
        (0..self.nodes).for_each(|node| self.count(node));
    }

    /// This node writes that it is alive.
    pub(super) fn count(&mut self, node: usize) {
        let key = members::nodes_key(self.prefix);
        cmd("ZADD").arg(&key).arg("+inf").arg(node).exec(&mut self.connection).unwrap();
    }

    /// Instead of each budget there is what this command writes to `KEY`. Returns how many there are.
    pub(super) fn replace_budgets(&mut self, command: &str) -> usize {
        let pattern = format!("{}limit:*:*", self.prefix);
        let keys: Vec<String> = cmd("KEYS").arg(pattern).query(&mut self.connection).unwrap();
        for key in &keys {
            cmd("DEL").arg(key).exec(&mut self.connection).unwrap();
            let mut words = command.split(' ').map(|word| if word == "KEY" { key } else { word });
            let mut write = cmd(words.next().unwrap());
            words.for_each(|word| _ = write.arg(word));
            write.exec(&mut self.connection).unwrap();
        }
        keys.len()
    }

    /// The call of the script, of this one at this time.
    fn settle(&mut self, called: &Cmd) -> Value {
        let words: Vec<_> = called.args_iter().collect();
        let [Arg::Simple(b"EVALSHA"), Arg::Simple(_), rest @ ..] = &words[..] else { panic!("{called:?}") };
        let mut call = cmd("EVALSHA");
        call.arg(&self.digest);
        for word in rest {
            let Arg::Simple(word) = word else { panic!("{called:?}") };
            call.arg(word);
        }
        call.arg(self.now.as_secs()).arg(self.now.subsec_micros());
        self.connection.req_command(&call).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl ConnectionLike for Server {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        future::ready(Ok(self.settle(command))).boxed()
    }

    fn req_packed_commands<'a>(&'a mut self, _: &'a Pipeline, _: usize, _: usize) -> RedisFuture<'a, Vec<Value>> {
        unreachable!("leases are settled by one script")
    }

    fn get_db(&self) -> i64 {
        0
    }
}

fn connect(socket: &Path, child: &mut Child) -> Connection {
    let client = Client::open(format!("unix://{}", socket.display())).unwrap();
    let began = Instant::now();
    loop {
        // A socket that is there may not be listened to yet.
        if fs::exists(socket).unwrap()
            && let Ok(connection) = client.get_connection()
        {
            return connection;
        }
        assert!(child.try_wait().unwrap().is_none(), "redis-server has ended");
        assert!(began.elapsed() < DEADLINE, "redis-server does not listen");
        thread::sleep(Duration::from_millis(1));
    }
}
