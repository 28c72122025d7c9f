//! A pod as a kubelet starts and ends it, as far as podman 4.3 does not.
//!
//! Podman has the pod: its network, its containers with their security contexts, users, limits and mounts, and starts again what
//! ends. This does what is a kubelet's, and hands podman the rest of the manifest as it came:
//!
//! * ConfigMaps and Secrets become folders as a kubelet makes them, with `..data`, modes and `fsGroup`, so that they can change
//!   (podman copies them once, and ends in a panic on a Secret without `optional`); `emptyDir` becomes a folder of one pod (podman
//!   shares it among all pods).
//! * `valueFrom` becomes a value.
//! * Ports are left out, because podman would bind them on the host; probes too, because it runs them with curl in the container.
//!   [`Pods::ready`] asks them.
//! * Hooks and signals at the end are those of [`Pods::delete`], because podman knows no hooks.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{Pods, manifests::Manifests};
use crate::support::{eventually, http};

/// Containers that are classic sidecars in the render, because podman has no native ones, and that are ended as native sidecars
/// are: when the others have ended.
const SIDECARS: [&str; 1] = ["tidegate"];

/// A pod that was started.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) ip: Ipv4Addr,
    pub(crate) labels: Value,
    spec: Value,
    volumes: PathBuf,
}

/// How a pod has left, each time counted from the beginning.
#[derive(Debug)]
pub(crate) struct Left {
    /// Until the hook of this container had ended, and what it answered: an exit code or an HTTP status.
    pub(crate) hooks: Vec<(String, Duration, i64)>,
    /// Until this container had ended, and its exit code.
    pub(crate) ends: Vec<(String, Duration, i64)>,
}

impl Left {
    pub(crate) fn hook(&self, container: &str) -> (Duration, i64) {
        let found = self.hooks.iter().find(|(name, ..)| name == container);
        found.map(|(_, after, answer)| (*after, *answer)).unwrap_or_else(|| panic!("{container} has no hook"))
    }

    pub(crate) fn end(&self, container: &str) -> (Duration, i64) {
        let found = self.ends.iter().find(|(name, ..)| name == container);
        found.map(|(_, after, code)| (*after, *code)).unwrap_or_else(|| panic!("{container} has not ended"))
    }
}

impl Pod {
    pub(crate) fn address(&self, port: u16) -> SocketAddr {
        (self.ip, port).into()
    }

    pub(crate) fn containers(&self) -> impl Iterator<Item = &Value> {
        self.spec["containers"].as_array().unwrap().iter()
    }

    /// What podman calls a container.
    fn full(&self, container: &str) -> String {
        format!("{}-{container}", self.name)
    }

    /// A port by its number, or by its name in the container.
    pub(crate) fn port(container: &Value, port: &Value) -> u16 {
        let number = port.as_u64().or_else(|| {
            let ports = container["ports"].as_array()?;
            ports.iter().find(|named| named["name"] == *port)?["containerPort"].as_u64()
        });
        number.and_then(|number| number.try_into().ok()).unwrap_or_else(|| panic!("{container} has no port {port}"))
    }

    /// The URL of a probe's or a hook's `httpGet`.
    fn url(&self, container: &Value, get: &Value) -> String {
        format!("http://{}:{}{}", self.ip, Self::port(container, &get["port"]), get["path"].as_str().unwrap_or("/"))
    }

    /// Replaces a mounted ConfigMap or Secret in one step, as a kubelet does when the object has changed.
    pub(crate) fn update(&self, volume: &str, entries: &[(String, Vec<u8>)]) {
        let volumes = self.spec["volumes"].as_array().unwrap();
        let described = volumes.iter().find(|described| described["name"] == volume).expect("the pod has the volume");
        write_version(&self.volumes.join(volume), entries, mode_of(described), group_of(&self.spec));
    }
}

impl Pods {
    /// Starts a pod of this template (`{"metadata", "spec"}`), whose ConfigMaps and Secrets are among the manifests.
    pub(crate) async fn play(&self, manifests: &Manifests, name: &str, template: &Value) -> Pod {
        self.play_at(self.reserve(), manifests, name, template).await
    }

    /// As `play`, with an address that was [reserved](Pods::reserve).
    pub(crate) async fn play_at(&self, ip: Ipv4Addr, manifests: &Manifests, name: &str, template: &Value) -> Pod {
        let name = format!("{}-{name}", self.run);
        let (labels, spec) = (template["metadata"]["labels"].clone(), template["spec"].clone());
        let pod = Pod { volumes: self.folder(&format!("{name}.volumes")), name, ip, labels, spec };
        let mut spec = template["spec"].clone();
        for volume in spec["volumes"].as_array_mut().into_iter().flatten() {
            *volume = pod.volume(manifests, volume);
        }
        for kind in ["initContainers", "containers"] {
            for container in spec[kind].as_array_mut().into_iter().flatten() {
                pod.adapt(manifests, container);
            }
        }
        let metadata = json!({ "name": pod.name, "labels": template["metadata"]["labels"] });
        let manifest = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec });
        let file = pod.volumes.join("pod.json");
        fs::write(&file, manifest.to_string()).unwrap();
        let ip = ip.to_string();
        let file = file.to_str().unwrap();
        let play = ["kube", "play", "--build=false", "--network", &self.run, "--ip", &ip, file];
        if let Err(error) = self.podman.tries(&play).await {
            // An init container that ends within milliseconds can make podman 4.3 fail once.
            assert!(pod.spec["initContainers"].is_array(), "{error}");
            let _ = self.podman.tries(&["pod", "rm", "--force", &pod.name]).await;
            self.podman.run(&play).await;
        }
        pod
    }

    /// Waits until every probe of the pod is answered, as a Service waits before it sends clients.
    pub(crate) async fn ready(&self, pod: &Pod) {
        for container in pod.containers() {
            for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
                let Some(get) = container[probe].get("httpGet") else { continue };
                let url = pod.url(container, get);
                eventually(&format!("{url}, the {probe} of {}, is answered with 200", pod.name), async || {
                    let reply = http::try_request("GET", &url, &[], "").await;
                    reply.is_ok_and(|reply| reply.status == 200).then_some(())
                })
                .await;
            }
        }
    }

    /// What a program in a container prints; that it fails is a sentence.
    pub(crate) async fn exec(&self, pod: &Pod, container: &str, command: &[&str]) -> Result<String, String> {
        self.podman.tries(&[&["exec", &pod.full(container)], command].concat()).await
    }

    /// What a container has written so far.
    pub(crate) async fn logs(&self, pod: &Pod, container: &str) -> String {
        self.podman.run(&["logs", &pod.full(container)]).await
    }

    /// A field of `podman inspect`, by its template.
    pub(crate) async fn inspect(&self, pod: &Pod, container: &str, format: &str) -> String {
        self.podman.run(&["inspect", "--format", format, &pod.full(container)]).await.trim().to_owned()
    }

    /// SIGTERM, and SIGKILL after so long; the exit code. It is not started again.
    pub(crate) async fn stop(&self, pod: &Pod, container: &str, patience: Duration) -> i64 {
        let seconds = format!("--time={}", patience.as_secs());
        self.podman.run(&["stop", &seconds, &pod.full(container)]).await;
        self.inspect(pod, container, "{{.State.ExitCode}}").await.parse().unwrap()
    }

    /// Starts a container that was stopped.
    pub(crate) async fn start_again(&self, pod: &Pod, container: &str) {
        self.podman.run(&["start", &pod.full(container)]).await;
    }

    /// A container stands still, its sockets open. A pod whose only container stopped would lose its network, too.
    pub(crate) async fn pause(&self, pod: &Pod, container: &str) {
        self.podman.run(&["pause", &pod.full(container)]).await;
    }

    /// It goes on after `pause`.
    pub(crate) async fn resume(&self, pod: &Pod, container: &str) {
        self.podman.run(&["unpause", &pod.full(container)]).await;
    }

    /// Ends the pod as a kubelet does, within `terminationGracePeriodSeconds`: the hooks of all containers at once; each container
    /// gets SIGTERM when its hook has ended, a sidecar only when the others have ended too.
    pub(crate) async fn delete(&self, pod: &Pod) -> Left {
        let begin = Instant::now();
        let grace = Duration::from_secs(pod.spec["terminationGracePeriodSeconds"].as_u64().unwrap_or(30));
        let (sidecars, others): (Vec<_>, Vec<_>) =
            pod.containers().partition(|one| SIDECARS.iter().any(|name| one["name"] == *name));
        let hook = async |container: &Value| {
            let answer = tokio::time::timeout(grace, self.before_stop(pod, container)).await.unwrap_or(Some(-1));
            answer.map(|answer| (name_of(container), begin.elapsed(), answer))
        };
        let stop = async |container: &Value| {
            let name = name_of(container);
            let code = self.stop(pod, &name, grace.saturating_sub(begin.elapsed())).await;
            (name, begin.elapsed(), code)
        };
        let end_others = join_all(others.iter().map(async |container| (hook(container).await, stop(container).await)));
        let hook_sidecars = join_all(sidecars.iter().map(async |container| hook(container).await));
        let (ended, mut hooks) = tokio::join!(end_others, hook_sidecars);
        let (others_hooks, mut ends): (Vec<_>, Vec<_>) = ended.into_iter().unzip();
        hooks.extend(others_hooks);
        ends.extend(join_all(sidecars.iter().map(async |container| stop(container).await)).await);
        Left { hooks: hooks.into_iter().flatten().collect(), ends }
    }

    /// What the `preStop` hook answers. None: there is no hook.
    async fn before_stop(&self, pod: &Pod, container: &Value) -> Option<i64> {
        let hook = &container["lifecycle"]["preStop"];
        if let Some(get) = hook.get("httpGet") {
            let reply = http::try_request("GET", &pod.url(container, get), &[], "").await;
            return Some(reply.map_or(-1, |reply| reply.status.into()));
        }
        let command = hook.get("exec")?["command"].as_array().unwrap();
        let command: Vec<_> = command.iter().map(|word| word.as_str().unwrap()).collect();
        match self.exec(pod, &name_of(container), &command).await {
            Ok(_) => Some(0),
            Err(error) => {
                eprintln!("a hook of {} failed: {error}", pod.name);
                Some(1)
            }
        }
    }
}

impl Pod {
    /// A folder of the host in place of what only a kubelet can mount.
    fn volume(&self, manifests: &Manifests, volume: &Value) -> Value {
        let name = volume["name"].as_str().unwrap();
        let folder = self.volumes.join(name);
        let entries = if let Some(map) = volume.get("configMap") {
            Some(entries(manifests, "ConfigMap", map, "name"))
        } else if let Some(secret) = volume.get("secret") {
            Some(entries(manifests, "Secret", secret, "secretName"))
        } else if volume.get("emptyDir").is_some() {
            None
        } else {
            let mut volume = volume.clone();
            volume["name"] = self.named(name).into();
            return volume;
        };
        fs::create_dir_all(&folder).unwrap();
        // A kubelet gives it to the group, with the bit that new files belong to it too.
        chown(&folder, None, group_of(&self.spec)).unwrap();
        let mode = if entries.is_some() { 0o2755 } else { 0o2777 };
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
        if let Some(entries) = entries {
            write_version(&folder, &entries, mode_of(volume), group_of(&self.spec));
        }
        json!({ "name": self.named(name), "hostPath": { "path": folder, "type": "Directory" } })
    }

    /// Podman has one name space of volumes for all pods.
    fn named(&self, volume: &str) -> String {
        format!("{}-{volume}", self.name)
    }

    fn adapt(&self, manifests: &Manifests, container: &mut Value) {
        for mount in container["volumeMounts"].as_array_mut().into_iter().flatten() {
            mount["name"] = self.named(mount["name"].as_str().unwrap()).into();
        }
        for variable in container["env"].as_array_mut().into_iter().flatten() {
            if let Some(from) = variable.get("valueFrom") {
                *variable = json!({ "name": variable["name"], "value": self.value(manifests, from) });
            }
        }
        let fields = container.as_object_mut().unwrap();
        for name in ["ports", "startupProbe", "livenessProbe", "readinessProbe", "lifecycle"] {
            fields.remove(name);
        }
        fields.insert("imagePullPolicy".to_owned(), "Never".into());
    }

    fn value(&self, manifests: &Manifests, from: &Value) -> String {
        if let Some(field) = from.get("fieldRef") {
            return match field["fieldPath"].as_str().unwrap() {
                "metadata.name" => self.name.clone(),
                "metadata.namespace" => "tutor".to_owned(),
                "status.podIP" => self.ip.to_string(),
                "spec.nodeName" => "node".to_owned(),
                other => panic!("the field {other} is not known here"),
            };
        }
        let (kind, key) = match (from.get("secretKeyRef"), from.get("configMapKeyRef")) {
            (Some(key), _) => ("Secret", key),
            (_, Some(key)) => ("ConfigMap", key),
            _ => panic!("{from} is not known here"),
        };
        let entries = manifests.entries(kind, key["name"].as_str().unwrap());
        let (_, value) = entries.into_iter().find(|(name, _)| key["key"] == *name.as_str()).expect("the key is there");
        String::from_utf8(value).unwrap()
    }
}

/// What a volume has of its object: all, or the `items` that it names.
fn entries(manifests: &Manifests, kind: &str, source: &Value, name: &str) -> Vec<(String, Vec<u8>)> {
    let all = manifests.entries(kind, source[name].as_str().unwrap());
    let Some(items) = source["items"].as_array() else { return all };
    let one = |item: &Value| {
        let (_, value) = all.iter().find(|(key, _)| item["key"] == *key.as_str())?;
        Some((item["path"].as_str().unwrap().to_owned(), value.clone()))
    };
    items.iter().filter_map(one).collect()
}

/// The entries in a folder of their own, to which `..data` leads from now on.
fn write_version(volume: &Path, entries: &[(String, Vec<u8>)], mode: u32, group: Option<u32>) {
    let mut number = 1;
    while volume.join(format!("..version-{number}")).exists() {
        number += 1;
    }
    let version = format!("..version-{number}");
    fs::create_dir(volume.join(&version)).unwrap();
    for (name, content) in entries {
        let file = volume.join(&version).join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, content).unwrap();
        chown(&file, None, group).unwrap();
        // With a group that is to read it, a kubelet lets it.
        let mode = if group.is_some() { mode | 0o040 } else { mode };
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let link = volume.join(name);
        if !link.is_symlink() {
            symlink(Path::new("..data").join(name), link).unwrap();
        }
    }
    symlink(&version, volume.join("..data_tmp")).unwrap();
    fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
}

fn mode_of(volume: &Value) -> u32 {
    let source = volume.get("configMap").or_else(|| volume.get("secret"));
    let mode = source.and_then(|source| source["defaultMode"].as_u64()).unwrap_or(0o644);
    mode.try_into().unwrap()
}

fn group_of(spec: &Value) -> Option<u32> {
    spec["securityContext"]["fsGroup"].as_u64().map(|group| group.try_into().unwrap())
}

fn name_of(container: &Value) -> String {
    container["name"].as_str().unwrap().to_owned()
}
