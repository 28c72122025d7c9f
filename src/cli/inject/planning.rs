//! Makes a plan of the options, and checks the configuration as far as it can be without the pod.

use std::{fs, path::Path};

use http::Uri;
use serde_json::Value;

use super::{
    args::Args,
    error::InjectError,
    plan::{ConfigSource, Plan},
    sidecar::{ACME_FOLDER, SECRETS_FOLDER, TLS_FOLDER, variables},
};
use crate::{
    cli::{failure::Failure, output::complain},
    config::{
        error::ConfigError,
        load::{Loaded, Sources},
    },
    fault::Fault,
    policy::connections::LimitsTable,
    start,
    units::Period,
};

/// Beside what is waited for: time for the kubelet.
const SPARE_SECONDS: u64 = 5;
/// A ConfigMap has so many bytes at most.
const CONFIG_BYTES_MAX: usize = 1_000_000;

impl Plan {
    pub(super) fn of(args: &Args) -> Result<Self, Failure> {
        let defaults = LimitsTable::default();
        let config = match (&args.config, &args.config_map) {
            (Some(file), _) => ConfigSource::Text(read(file)?),
            (None, name) => ConfigSource::Named(name.clone().unwrap_or_default()),
        };
        let mut plan = Self {
            config,
            image: args.image.clone(),
            classic: args.classic,
            secret: args.secret.clone(),
            tls_secret: args.tls_secret.clone(),
            acme: false,
            orders: false,
            http_challenges: false,
            ipv6: args.ipv6,
            tls: args.tls_secret.is_some(),
            only: args.only.clone(),
            container: args.container.clone(),
            port: args.port,
            scheme: "http",
            listen_port: args.listen_port,
            admin_port: args.admin_port,
            lame_duck: args.lame_duck.unwrap_or(defaults.lame_duck),
            shutdown_grace: args.shutdown_grace.unwrap_or(defaults.shutdown_grace),
            grace_seconds: 0,
        };
        if plan.listen_port == plan.admin_port {
            return Err(option("--listen-port and --admin-port are the same port; choose two"));
        }
        if let Some(file) = &args.config {
            plan.read_config(file, args)?;
        }
        let seconds = |period: Period| period.0.as_millis().div_ceil(1000) as u64;
        let waits = [plan.lame_duck, plan.shutdown_grace, args.stop_time].map(seconds);
        plan.grace_seconds = waits.iter().sum::<u64>() + SPARE_SECONDS;
        Ok(plan)
    }

    /// Takes from the file what options do not say, and checks it as the pod will read it.
    fn read_config(&mut self, file: &Path, args: &Args) -> Result<(), Failure> {
        let sources = Sources { file: Some(file.to_owned()), ..Sources::default() };
        // What the file says of the times, before the sidecar's environment says it.
        let alone = sources.load_with([], |_| Ok(()))?;
        let limits = &alone.config.limits;
        self.lame_duck = args.lame_duck.unwrap_or(limits.lame_duck);
        self.shutdown_grace = args.shutdown_grace.unwrap_or(limits.shutdown_grace);
        if let (ConfigSource::Text(text), None) = (&self.config, self.port) {
            self.port = service_port(text);
        }
        if alone.config.upstream.url.starts_with("https:") {
            self.scheme = "https";
        }
        let environment = variables(self, self.port.unwrap_or(1));
        let environment = environment.into_iter().map(|(name, value)| (name.into(), value.into()));
        let loaded = sources.load_with(environment, without_files)?;
        without_files(&loaded).inspect_err(|error| self.say_of_secret(error))?;
        self.check_files(&loaded)?;
        // That address is the sidecar's own, and probes need it.
        for warning in loaded.config.warnings().into_iter().filter(|warning| warning.key != "admin.address") {
            complain(&format!("warning: {warning}"));
        }
        let tls = loaded.config.tls.as_ref();
        self.tls = tls.is_some();
        let acme = tls.and_then(|tls| tls.acme.as_ref());
        self.orders = acme.is_some();
        self.acme = acme.is_some_and(|acme| !acme.is_cached_in_redis());
        self.http_challenges = acme.is_some_and(|acme| acme.http_address.is_some());
        Ok(())
    }

    /// Where no key verifies tokens, a Secret may be meant to.
    fn say_of_secret(&self, error: &ConfigError) {
        let has_key = matches!(self.secret, Some((_, Some(_))));
        if !has_key && error.mistakes().iter().any(|mistake| mistake.key() == "auth.required") {
            complain("--secret NAME:KEY makes auth.secret of the key KEY of the Secret NAME");
        }
    }

    /// Every secret, key and certificate must be a file that is mounted.
    fn check_files(&self, loaded: &Loaded) -> Result<(), Failure> {
        let config = effective(loaded);
        let mut faults = Vec::new();
        for key in loaded.config.keys_read() {
            let Some(value) = value_at(&config, &key) else { continue };
            let (kind, name) = match (&value, value.get("file"), value.get("env")) {
                (Value::String(file), ..) | (_, Some(Value::String(file)), _) => ("file", file),
                (_, _, Some(Value::String(variable))) => ("environment variable", variable),
                _ => continue,
            };
            if kind == "file" && self.is_mounted(name) {
                continue;
            }
            let base = Path::new(name).file_name().unwrap_or_default().to_string_lossy();
            let path = format!("\"{SECRETS_FOLDER}/{base}\"");
            let fix = if value.is_string() { path } else { format!("{{ file = {path} }}") };
            faults.push(Fault::new(
                key,
                format!("is the {kind} {name:?}, which the sidecar does not have; write {fix}, and name with --secret the Secret that has the key {base}"),
            ));
        }
        let acme = loaded.config.tls.as_ref().and_then(|tls| tls.acme.as_ref());
        if let Some(acme) = acme.filter(|acme| !acme.is_cached_in_redis() && acme.cache != Path::new(ACME_FOLDER)) {
            let message =
                format!("is {:?}, where the sidecar cannot write; write \"{ACME_FOLDER}\" or \"redis\"", acme.cache);
            faults.push(Fault::new("tls.acme.cache", message));
        }
        if faults.is_empty() { Ok(()) } else { Err(loaded.place(faults).into()) }
    }

    fn is_mounted(&self, file: &str) -> bool {
        let in_folder = |folder: &str| file.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
        let of_secret = match (&self.secret, in_folder(SECRETS_FOLDER)) {
            (Some((_, Some(key))), Some(name)) => key == name,
            (Some((_, None)), Some(_)) => true,
            _ => false,
        };
        of_secret
            || self.tls_secret.is_some() && in_folder(TLS_FOLDER).is_some()
            || in_folder(ACME_FOLDER).is_some()
            // In the image.
            || file == "/etc/ssl/certs/ca-certificates.crt"
    }
}

/// Whether a node would start with it, if its files were there.
fn without_files(loaded: &Loaded) -> Result<(), ConfigError> {
    start::verify(loaded).or_else(|error| error.without_unread().map_or(Ok(()), Err))
}

fn read(file: &Path) -> Result<String, Failure> {
    let text = fs::read_to_string(file).map_err(|source| InjectError::Read { path: file.to_owned(), source })?;
    if text.len() > CONFIG_BYTES_MAX {
        return Err(option(&format!("{} is larger than a ConfigMap can be, 1 MB", file.display())));
    }
    Ok(format!("{}\n", text.replace("\r\n", "\n").trim_end()))
}

fn option(message: &str) -> Failure {
    InjectError::Option(message.to_owned()).into()
}

/// The port of `upstream.url`, where the file says it.
fn service_port(text: &str) -> Option<u16> {
    let file: toml_edit::DocumentMut = text.parse().ok()?;
    let url: Uri = file.get("upstream")?.get("url")?.as_str()?.parse().ok()?;
    let by_scheme = if url.scheme_str() == Some("https") { 443 } else { 80 };
    Some(url.port_u16().unwrap_or(by_scheme))
}

fn effective(loaded: &Loaded) -> Value {
    serde_json::to_value(&loaded.config).unwrap_or_default()
}

/// The value of a key such as `tls.certificates[0].certificate`.
fn value_at(config: &Value, key: &str) -> Option<Value> {
    let mut value = config;
    for part in key.split(['.', '[']) {
        value = match part.strip_suffix(']') {
            Some(at) => value.get(at.parse::<usize>().ok()?)?,
            None => value.get(part)?,
        };
    }
    Some(value.clone())
}
