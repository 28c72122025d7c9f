//! The options of `tidegate inject` and `tidegate uninject`.

use std::path::PathBuf;

use crate::units::Period;

const EXAMPLES: &str = "\
Examples:
  kubectl get deployment/chat service/chat -o yaml | tidegate inject --image registry.example.com/tidegate:0.1.0 \\
    --config tidegate.toml --secret chat-jwt:secret - | kubectl apply -f -
  tidegate inject --config tidegate.toml --secret chat-jwt --only chat deploy.yaml > gated.yaml
  helm template chat ./chart | tidegate inject --config-map chat-gate --port 4003 --classic -
  kubectl get deployment,service,configmap -o yaml | tidegate uninject - | kubectl apply -f -

Read are YAML and JSON, lists and several documents. A Deployment, StatefulSet, DaemonSet or Pod gets
the container tidegate, and the Services of its port lead there. What is not touched keeps every byte,
comments too. No cluster is asked. What was done is said on standard error; where something cannot be
done, nothing is printed. Injecting again, also with other options, begins with the original.

The pod finds the Secret of --secret in /etc/tidegate/secrets, a file for each of its keys. With
NAME:KEY that key is auth.secret; otherwise the TOML names files there.";

const EXAMPLES_BACK: &str = "\
Examples:
  tidegate uninject gated.yaml > deploy.yaml
  kubectl get deployment,service -o yaml | tidegate uninject - | kubectl apply -f -

What tidegate inject printed becomes what it had read, byte for byte. ConfigMaps that it added are
left out; kubectl delete configmap takes them out of a cluster.";

/// Put the gate into Kubernetes manifests, beside a service that need not change
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// The configuration: checked, and added as a ConfigMap
    #[arg(long, value_name = "FILE", required_unless_present = "config_map", conflicts_with = "config_map")]
    pub(super) config: Option<PathBuf>,
    /// A ConfigMap that exists, with the configuration in its key tidegate.toml
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(super) config_map: Option<String>,
    /// The Secret in /etc/tidegate/secrets; with its key that signs tokens, if auth.secret is not in the configuration
    #[arg(long, value_name = "NAME[:KEY]", value_parser = secret)]
    pub(super) secret: Option<(String, Option<String>)>,
    /// A Secret with tls.crt and tls.key: clients speak TLS with the gate
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(super) tls_secret: Option<String>,
    /// The image of the gate
    #[arg(long, value_name = "IMAGE", value_parser = image, default_value = concat!("tidegate:", env!("CARGO_PKG_VERSION")))]
    pub(super) image: String,
    /// The port of the service [default: that of upstream.url if the file says it, else the one port of the pod]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) port: Option<u16>,
    /// The container that is the service [default: the one that names this port, else the first]
    #[arg(long, value_name = "NAME")]
    pub(super) container: Option<String>,
    /// Only the workload with this name, or KIND/NAME. May be repeated
    #[arg(long, value_name = "NAME")]
    pub(super) only: Vec<String>,
    /// An ordinary container in place of a native sidecar, for Kubernetes before 1.29
    #[arg(long)]
    pub(super) classic: bool,
    /// How long a pod that leaves serves on [default: limits.lame_duck]
    #[arg(long, value_name = "TIME", value_parser = period)]
    pub(super) lame_duck: Option<Period>,
    /// Over which time its clients are disconnected then [default: limits.shutdown_grace]
    #[arg(long, value_name = "TIME", value_parser = period)]
    pub(super) shutdown_grace: Option<Period>,
    /// How long the service may take to stop after its last client has left
    #[arg(long, value_name = "TIME", value_parser = period, default_value = "10s")]
    pub(super) stop_time: Period,
    /// Listen on [::], in a cluster with IPv6
    #[arg(long)]
    pub(super) ipv6: bool,
    /// Where the gate listens for clients
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..), default_value_t = 8443)]
    pub(super) listen_port: u16,
    /// Where it answers probes, Prometheus and the operator
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..), default_value_t = 9464)]
    pub(super) admin_port: u16,
    /// Manifests; - is standard input, which is read where none is named
    #[arg(value_name = "MANIFEST")]
    pub(super) manifests: Vec<PathBuf>,
}

/// Take the gate out of manifests again
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES_BACK)]
pub(in crate::cli) struct BackArgs {
    /// Only for the workload with this name, or KIND/NAME. May be repeated
    #[arg(long, value_name = "NAME")]
    pub(super) only: Vec<String>,
    /// Manifests; - is standard input, which is read where none is named
    #[arg(value_name = "MANIFEST")]
    pub(super) manifests: Vec<PathBuf>,
}

fn period(text: &str) -> Result<Period, String> {
    text.parse().map_err(|_| "a time needs a unit, for example 5s or 1m".to_owned())
}

/// A name of an object in Kubernetes.
fn name(text: &str) -> Result<String, &'static str> {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    if text.is_empty() || !text.chars().all(is_name) {
        Err("a name has small letters, digits, - and .")
    } else {
        Ok(text.to_owned())
    }
}

fn secret(text: &str) -> Result<(String, Option<String>), &'static str> {
    let Some((secret, key)) = text.split_once(':') else { return Ok((name(text)?, None)) };
    let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if key.is_empty() || !key.chars().all(is_key) {
        return Err("a key has letters, digits, -, _ and .");
    }
    Ok((name(secret)?, Some(key.to_owned())))
}

fn image(text: &str) -> Result<String, &'static str> {
    let is_image = !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
    if is_image { Ok(text.to_owned()) } else { Err("an image is REPOSITORY:TAG or REPOSITORY@DIGEST") }
}
