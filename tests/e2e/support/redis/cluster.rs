//! A Cluster: three masters, each with a replica.

use tokio::process::Command;

use super::{super::ports::Port, Redis, eventually, run};

const NODES: usize = 6;

/// Six servers; they end with the value.
#[derive(Debug)]
pub(crate) struct RedisCluster {
    nodes: Vec<Redis>,
    /// Where the nodes talk among themselves.
    _ports: Vec<Port>,
}

impl RedisCluster {
    /// All slots are served.
    pub(crate) async fn start() -> Self {
        let (mut nodes, mut ports) = (Vec::new(), Vec::new());
        for _ in 0..NODES {
            let port = Port::reserve();
            let number = port.address.port().to_string();
            // A server that does not answer within this is not met, and redis-cli waits for it for ever.
            let args = ["--cluster-enabled", "yes", "--cluster-node-timeout", "30000", "--cluster-port", &number];
            nodes.push(Redis::setup().args(&args).start().await);
            ports.push(port);
        }
        let cluster = Self { nodes, _ports: ports };
        let addresses: Vec<_> = cluster.nodes.iter().map(|node| node.port.address.to_string()).collect();
        let mut cli = Command::new("redis-cli");
        cli.args(["--cluster", "create"]).args(addresses).args(["--cluster-replicas", "1", "--cluster-yes"]);
        let said = run(&mut cli, b"").await;
        assert!(said.contains("[OK] All 16384 slots covered"), "{said}");
        cluster.agrees().await;
        // They talk more often so. No test has a server fail over, which a stall of the machine must not do either.
        for node in &cluster.nodes {
            node.cli(&["CONFIG", "SET", "cluster-node-timeout", "10000"]).await;
        }
        cluster
    }

    /// Each of its servers.
    pub(crate) fn nodes(&mut self) -> &mut [Redis] {
        &mut self.nodes
    }

    /// The addresses of all servers, without a password.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Redis::url).collect()
    }

    /// What `redis-cli` prints for a command, sent to the server that is responsible for it.
    pub(crate) async fn cli(&self, command: &[&str]) -> String {
        let port = self.nodes[0].port().to_string();
        run(Command::new("redis-cli").args(["-c", "-p", &port]).args(command), b"").await
    }

    /// Which of its servers is the master of a key's slot now.
    pub(crate) async fn owner(&self, key: &str) -> usize {
        let slot: u32 = self.cli(&["CLUSTER", "KEYSLOT", key]).await.parse().unwrap();
        for (index, node) in self.nodes.iter().enumerate() {
            if node.cli(&["CLUSTER", "NODES"]).await.lines().any(|line| is_own(line) && has_slot(line, slot)) {
                return index;
            }
        }
        panic!("nobody has slot {slot}");
    }

    /// Moves the slot of a key, with all keys in it, to another master: by the commands of `redis-cli --cluster reshard`, which on a
    /// busy machine takes too long for it looks at the whole Cluster before each slot. All servers know it when this is done. It
    /// answers with the new owner.
    pub(crate) async fn reshard(&self, key: &str) -> usize {
        let slot = &*self.cli(&["CLUSTER", "KEYSLOT", key]).await;
        let from = self.owner(key).await;
        let to = self.other_master(from).await;
        let (source, target) = (&self.nodes[from], &self.nodes[to]);
        let (source_id, target_id) = (&*self.id(from).await, &*self.id(to).await);
        let done = |said: String| assert_eq!(said, "OK");
        done(target.cli(&["CLUSTER", "SETSLOT", slot, "IMPORTING", source_id]).await);
        done(source.cli(&["CLUSTER", "SETSLOT", slot, "MIGRATING", target_id]).await);
        let address = target.port.address;
        let (host, port) = (&*address.ip().to_string(), &*address.port().to_string());
        loop {
            let keys = source.cli(&["CLUSTER", "GETKEYSINSLOT", slot, "100"]).await;
            if keys.is_empty() {
                break;
            }
            let keys: Vec<_> = keys.lines().collect();
            // Of a key that has ended meanwhile it says NOKEY.
            let said = source.cli(&[&["MIGRATE", host, port, "", "0", "10000", "KEYS"], &*keys].concat()).await;
            assert!(["OK", "NOKEY"].contains(&&*said), "{said}");
        }
        // The target first: were the source the first to tell, the slot would be nobody's for a moment.
        done(target.cli(&["CLUSTER", "SETSLOT", slot, "NODE", target_id]).await);
        done(source.cli(&["CLUSTER", "SETSLOT", slot, "NODE", target_id]).await);
        self.agrees().await;
        assert_eq!(self.owner(key).await, to);
        to
    }

    async fn id(&self, index: usize) -> String {
        self.nodes[index].cli(&["CLUSTER", "MYID"]).await
    }

    async fn other_master(&self, than: usize) -> usize {
        for (index, node) in self.nodes.iter().enumerate() {
            let nodes = node.cli(&["CLUSTER", "NODES"]).await;
            let own = nodes.lines().find(|line| is_own(line)).unwrap();
            if index != than && own.contains("master") && slots(own).next().is_some() {
                return index;
            }
        }
        panic!("there is no other master");
    }

    /// Waits until all servers say the same of all slots.
    async fn agrees(&self) {
        eventually("the servers of the Cluster agree", async || {
            let mut views = Vec::new();
            for node in &self.nodes {
                let info = node.cli(&["CLUSTER", "INFO"]).await;
                if !info.contains("cluster_state:ok") || !info.contains("cluster_known_nodes:6") {
                    return None;
                }
                let nodes = node.cli(&["CLUSTER", "NODES"]).await;
                let mut owners: Vec<_> =
                    nodes.lines().flat_map(|line| slots(line).map(|range| (range, line[..40].to_owned()))).collect();
                owners.sort();
                views.push(owners);
            }
            views.windows(2).all(|pair| pair[0] == pair[1]).then_some(())
        })
        .await;
    }
}

/// Whether a line of CLUSTER NODES is about the server that wrote it.
fn is_own(line: &str) -> bool {
    line.contains("myself")
}

/// The ranges of slots in a line of CLUSTER NODES, the last slot included.
fn slots(line: &str) -> impl Iterator<Item = (u32, u32)> {
    line.split(' ').skip(8).filter(|range| !range.starts_with('[')).map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        (first.parse().unwrap(), last.parse().unwrap())
    })
}

fn has_slot(line: &str, slot: u32) -> bool {
    slots(line).any(|(first, last)| (first..=last).contains(&slot))
}
