//! Why manifests cannot be read or changed.

use std::{io, path::PathBuf};

/// Why nothing was printed.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum InjectError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What is wrong at a line of a manifest.
    #[error("{place}: {reason}")]
    At {
        /// The file and the line.
        place: String,
        /// What, and what to do.
        reason: Reason,
    },
    /// There is no workload.
    #[error(
        "there is no Deployment, StatefulSet, DaemonSet or Pod to inject in {0}; print one, for example with kubectl get deployment NAME -o yaml"
    )]
    NoWorkload(String),
    /// Which of them is not said.
    #[error("there are {} workloads, {}; name those that get the sidecar, for example --only {}", .0.len(), .0.join(", "), .0[0])]
    SeveralWorkloads(Vec<String>),
    /// A name of `--only` is not there.
    #[error("--only {name} names no workload; there is {}", .there.join(", "))]
    UnknownWorkload {
        /// What was asked for.
        name: String,
        /// What is there.
        there: Vec<String>,
    },
    /// The configuration, or an option, does not fit a pod.
    #[error("{0}")]
    Option(String),
}

/// What is wrong with a part of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::cli) enum Reason {
    #[error("this is no YAML: {0}")]
    Syntax(String),
    #[error("this is no YAML: {0}; a template of Helm is rendered first, with helm template")]
    Template(String),
    #[error("this form cannot be changed ({0}); write it another way, for example a line for each key")]
    Form(String),
    #[error("{key} in {inside} is written with a question mark; write {key}: in its place")]
    Explicit { key: String, inside: String },
    #[error(
        "the text ends in this block without a line end, and one would change its value; end the last line, or write |- in place of |"
    )]
    OpenBlock,
    #[error("this is no UTF-8 text; save the file as UTF-8")]
    Encoding,
    #[error(
        "{0} has the anchor of an alias, so a change would show elsewhere too; write it out, or name another workload with --only"
    )]
    Anchor(String),
    #[error("{0} is an alias, so a change would show elsewhere too; write out what it stands for")]
    Alias(String),
    #[error("{0} has the merge key <<, so what is in it cannot be seen; write out what is merged")]
    Merge(String),
    #[error("{0} has a tag; remove it")]
    Tag(String),
    #[error("{key} stands twice in {inside}; remove one of them")]
    Duplicate { key: String, inside: String },
    #[error("{0} is missing")]
    Missing(String),
    #[error("{0} has no value; give it one, or remove it")]
    Empty(String),
    #[error("{0} is not what Kubernetes takes there: {1} is wanted")]
    Type(String, &'static str),
    #[error("{0} shares its line with what it is in; write it in a line of its own")]
    Compact(String),
    #[error("{0} has a container named tidegate that tidegate inject did not add; remove it, or rename it")]
    ForeignContainer(String),
    #[error("{workload} has a volume named {volume} already; rename it")]
    ForeignVolume { workload: String, volume: String },
    #[error("container {container} of {workload} has a port named {port} already, which is the gate's; rename it")]
    ForeignPort { workload: String, container: String, port: String },
    #[error(
        "{service} selects the pods of {workload} too, which have no gate at port {port}, so its clients would not reach them; \
         inject both, for example with --only {chosen} --only {workload}, or let its selector leave them out"
    )]
    Shared { service: String, workload: String, chosen: String, port: u16 },
    #[error(
        "{service} has port {port} in front of the gate, and where it led before is not known, because tidegate inject did not \
         change it; give it the targetPort of the service"
    )]
    UnknownTarget { service: String, port: u16 },
    #[error("what stood here was {0:?}, which cannot be written as JSON; uninject the YAML")]
    Unreadable(String),
    #[error(
        "{0} runs on Windows, for which there is no Tidegate; put the gate in front of it with the chart, mode: gateway"
    )]
    Windows(String),
    #[error(
        "container {container} of {workload} uses port {port}, which the gate needs; choose another one with {option}"
    )]
    PortTaken { workload: String, container: String, port: u16, option: &'static str },
    #[error("{workload} names {} ports, {}; say which one is the service with --port", .ports.len(), .ports.join(", "))]
    SeveralPorts { workload: String, ports: Vec<String> },
    #[error("{0} names no containerPort; say on which port the service listens with --port")]
    NoPort(String),
    #[error("{workload} has no container {name}; it has {}", .there.join(", "))]
    UnknownContainer { workload: String, name: String, there: Vec<String> },
    #[error(
        "the annotation tidegate/original of {0} cannot be read, so the original is not known; take it from where you keep it"
    )]
    Memory(String),
}
