//! Whether the service can be reached around the gate.

use std::{
    collections::BTreeSet,
    env, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use futures_util::future::join_all;
use http::uri::Authority;
use tokio::{
    net::{TcpStream, ToSocketAddrs, lookup_host},
    time::timeout,
};

use super::{
    finding::{Finding, in_kubernetes},
    request::PATIENCE,
};
use crate::{config::Config, relay::dial::Dialler};

const CHECK: &str = "bypass";

/// The addresses of this pod, as Kubernetes can be told to write them (`fieldRef`): one, or all with commas.
const POD_ADDRESSES: [&str; 2] = ["POD_IP", "POD_IPS"];

const NAME_IT: &str = "name an address of the service and its port, HOST:PORT, and ask from where it can be reached";

/// The words for where this process runs.
#[derive(Debug)]
struct Place {
    this: &'static str,
    another: &'static str,
    /// What closes a port.
    barrier: &'static str,
    lone: &'static str,
}

const POD: Place = Place {
    this: "this pod",
    another: "another pod",
    barrier: "a NetworkPolicy",
    lone: "this pod has no address but loopback; if it has, set POD_IP to it",
};

const MACHINE: Place = Place {
    this: "this machine",
    another: "another machine",
    barrier: "a firewall",
    lone: "this machine has no address but loopback",
};

impl Place {
    fn here() -> &'static Self {
        if in_kubernetes() { &POD } else { &MACHINE }
    }
}

/// What became of a connection. Of several, the greatest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tried {
    /// It was not sent.
    Unsent,
    /// Nothing came back.
    Silent,
    /// Nothing listens there, or a firewall says no.
    Refused,
    /// It was accepted.
    Answers,
}

/// From within the pod, or on the machine of the service.
pub(super) async fn check(config: &Config, service: &Dialler) -> Vec<Finding> {
    let place = Place::here();
    let port =
        service.authority().port_u16().unwrap_or(if config.upstream.url.starts_with("https") { 443 } else { 80 });
    if !is_loopback(service.authority()) {
        return vec![Finding::skip(CHECK, elsewhere(place, service.authority(), port))];
    }
    let addresses = own_addresses();
    if addresses.is_empty() {
        return vec![Finding::skip(CHECK, place.lone)];
    }
    let runs = async {
        let host = service.authority().host().trim_start_matches('[').trim_end_matches(']');
        reached(&(host, port)).await.is_ok_and(|tried| tried == Tried::Answers)
    };
    let tried = join_all(addresses.iter().map(|ip| tried(SocketAddr::new(*ip, port))));
    let (runs, tried) = tokio::join!(runs, tried);
    let listen = config.listen.address;
    let judged = addresses.into_iter().zip(tried).map(|(ip, tried)| {
        let address = SocketAddr::new(ip, port);
        let is_gate = listen.port() == port && (listen.ip().is_unspecified() || listen.ip() == ip);
        match is_gate {
            true => Finding::skip(CHECK, format!("{address} is the gate's own address")),
            false => judge_own(place, address, tried, runs),
        }
    });
    judged.collect()
}

/// From elsewhere: whoever is answered at `host:port` goes around the gate.
pub(super) async fn check_from_elsewhere(target: &str) -> Finding {
    match reached(&target).await {
        Ok(tried) => judge_elsewhere(Place::here(), target, tried),
        // What could not be tried is no proof that there is no way around.
        Err(why) => Finding::fail(CHECK, format!("{target} was not tried: {why}")).fix(NAME_IT),
    }
}

/// What became of connections to all addresses of a host, with its port. Why none was tried.
async fn reached(host: &impl ToSocketAddrs) -> Result<Tried, String> {
    let addresses: Vec<_> = match timeout(PATIENCE, lookup_host(host)).await {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => return Err(format!("it has no address ({error})")),
        Err(_) => return Err("its name is not resolved".to_owned()),
    };
    let tried = join_all(addresses.into_iter().map(tried)).await.into_iter().max();
    Ok(tried.unwrap_or(Tried::Unsent))
}

async fn tried(address: SocketAddr) -> Tried {
    match timeout(PATIENCE, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Tried::Answers,
        Err(_) => Tried::Silent,
        Ok(Err(error)) => match error.kind() {
            // A firewall may say that there is no way.
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset | io::ErrorKind::HostUnreachable => {
                Tried::Refused
            }
            io::ErrorKind::TimedOut => Tried::Silent,
            _ => Tried::Unsent,
        },
    }
}

fn elsewhere(Place { another, barrier, .. }: &Place, service: &Authority, port: u16) -> String {
    format!(
        "the service is at {service}, an address of its own: let {barrier} admit the gate alone there, and try from {another}: \
         tidegate doctor --bypass {}:{port}",
        service.host()
    )
}

/// `runs`: the service answers where the gate reaches it. Otherwise that nothing answers elsewhere says nothing.
fn judge_own(place: &Place, address: SocketAddr, tried: Tried, runs: bool) -> Finding {
    let (port, Place { this, another, barrier, .. }) = (address.port(), place);
    match tried {
        // Not more than a warning: the port may be closed for others alone.
        Tried::Answers => Finding::warn(
            CHECK,
            format!("the service answers at {address}: only {barrier} can keep clients from going around the gate"),
        )
        .fix(format!(
            "let it listen on 127.0.0.1:{port} alone, or close port {port} of {this} with {barrier}, which is not seen from \
             within: ask from {another}, tidegate doctor --bypass {address}"
        )),
        _ if !runs => Finding::skip(
            CHECK,
            format!("the service does not run: nothing answers at {address}, nor where upstream.url is"),
        ),
        Tried::Refused => {
            Finding::ok(CHECK, format!("nothing answers at {address}: the service is reached through the gate alone"))
        }
        Tried::Silent => Finding::ok(CHECK, format!("nothing comes back from {address}: it is filtered")),
        Tried::Unsent => Finding::skip(CHECK, format!("{address} cannot be tried from here")),
    }
}

fn judge_elsewhere(Place { barrier, .. }: &Place, target: &str, tried: Tried) -> Finding {
    match tried {
        Tried::Answers => Finding::fail(CHECK, format!("{target} answers: from here clients can go around the gate"))
            .fix(format!("let the service listen on 127.0.0.1 alone, or close its port with {barrier}")),
        Tried::Refused => Finding::ok(CHECK, format!("{target} refuses the connection")),
        Tried::Silent => Finding::ok(CHECK, format!("nothing comes back from {target}: it is filtered")),
        Tried::Unsent => {
            Finding::fail(CHECK, format!("{target} was not tried: this machine has no way to it")).fix(NAME_IT)
        }
    }
}

fn is_loopback(authority: &Authority) -> bool {
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// What the environment says, and the addresses from which packets to others go. No packet is sent.
fn own_addresses() -> BTreeSet<IpAddr> {
    let said = POD_ADDRESSES.iter().filter_map(|name| env::var(name).ok());
    let said = said.flat_map(|list| list.split(',').filter_map(|ip| ip.trim().parse().ok()).collect::<Vec<IpAddr>>());
    // Addresses for documentation (RFC 5737, RFC 3849): the route to them is the one to everybody.
    let routes = [
        (IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from(Ipv4Addr::new(192, 0, 2, 1))),
        (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()),
    ];
    let routed = routes.into_iter().filter_map(|(any, other)| {
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect((other, 9)).ok()?;
        let ip = socket.local_addr().ok()?.ip();
        (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
    });
    said.chain(routed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Status;

    #[test]
    fn only_an_answer_is_a_way_around_the_gate() {
        let address = SocketAddr::from(([10, 0, 0, 7], 4003));
        for (tried, own, elsewhere) in [
            (Tried::Answers, Status::Warn, Status::Fail),
            (Tried::Refused, Status::Ok, Status::Ok),
            (Tried::Silent, Status::Ok, Status::Ok),
            (Tried::Unsent, Status::Skip, Status::Fail),
        ] {
            assert_eq!(judge_own(&POD, address, tried, true).status, own, "{tried:?}");
            assert_eq!(judge_elsewhere(&POD, "pod:4003", tried).status, elsewhere, "{tried:?}");
        }
    }

    #[test]
    fn what_closes_a_port_is_named_for_where_it_runs() {
        let (address, service) = (SocketAddr::from(([10, 0, 0, 7], 4003)), "10.0.0.7:4003".parse().unwrap());
        for (place, barrier, others) in
            [(&POD, "a NetworkPolicy", ["firewall", "machine"]), (&MACHINE, "a firewall", ["NetworkPolicy", "pod"])]
        {
            let own = judge_own(place, address, Tried::Answers, true);
            let there = judge_elsewhere(place, "service:4003", Tried::Answers);
            let fixes = [own.fix.unwrap(), there.fix.unwrap()].map(|fix| fix.to_string());
            let [fix, _] = &fixes;
            assert!(fix.contains("127.0.0.1:4003") && fix.contains("--bypass 10.0.0.7:4003"), "{fix}");
            for text in fixes.iter().chain([&own.found.to_string(), &elsewhere(place, &service, 4003)]) {
                assert!(text.contains(barrier) && !others.iter().any(|other| text.contains(other)), "{text}");
            }
        }
        assert!(!MACHINE.lone.contains("POD") && !NAME_IT.contains("pod"));
    }

    #[test]
    fn of_a_service_that_does_not_run_nothing_is_said() {
        let address = SocketAddr::from(([10, 0, 0, 7], 4003));
        for tried in [Tried::Refused, Tried::Silent, Tried::Unsent] {
            let finding = judge_own(&POD, address, tried, false);
            assert!(finding.status == Status::Skip && finding.found.contains("does not run"), "{finding:?}");
        }
        assert_eq!(judge_own(&POD, address, Tried::Answers, false).status, Status::Warn);
    }

    #[test]
    fn a_service_within_the_pod_is_on_loopback() {
        for (authority, within) in [
            ("127.0.0.1:80", true),
            ("localhost:1", true),
            ("[::1]:4003", true),
            ("10.0.0.1:80", false),
            ("service", false),
        ] {
            assert_eq!(is_loopback(&authority.parse().unwrap()), within, "{authority}");
        }
    }
}
