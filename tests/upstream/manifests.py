"""Judges what `tidegate inject` printed, with readers by other people.

Arguments: pairs of files, the original and what was made of it. Standard output: a line for each fault, and for each
ConfigMap that was added a line `config` with its TOML and the environment of the sidecar, as JSON.
"""

import json
import sys

import kubernetes_validate
import yaml

# Native sidecars are on by default from the first on.
VERSIONS = ("1.29", kubernetes_validate.latest_version())
# Where the gate listens in these manifests.
GATES = (8443, 18443)
GRACE = "terminationGracePeriodSeconds"


def documents(path):
    text = open(path, newline="").read()
    if path.endswith(".json"):
        decoder, values = json.JSONDecoder(), []
        while text := text.lstrip():
            value, end = decoder.raw_decode(text)
            values.append(value)
            text = text[end:]
    else:
        values = [value for value in yaml.safe_load_all(text) if value]
    for value in values:
        yield from value["items"] if value["kind"] == "List" else [value]


def is_added(manifest):
    annotations = manifest["metadata"].get("annotations") or {}
    return manifest["kind"] == "ConfigMap" and "tidegate/injected" in annotations


def pod_of(manifest):
    spec = manifest.get("spec") or {}
    return spec if manifest["kind"] == "Pod" else (spec.get("template") or {}).get("spec")


def without_gate(manifest, original):
    """What is left when all that belongs to the gate is taken out, by what it means and not by its text."""
    annotations = manifest["metadata"].get("annotations") or {}
    if annotations.pop("tidegate/injected", None) is None:
        return manifest
    annotations.pop("tidegate/original")
    if manifest["kind"] == "Service":
        for port, before in zip(manifest["spec"]["ports"], original["spec"]["ports"]):
            if port.get("targetPort") in GATES:
                port["targetPort"] = before.get("targetPort")
        return manifest
    pod = pod_of(manifest)
    for key in ("initContainers", "containers"):
        pod[key] = [container for container in pod.get(key) or [] if container["name"] != "tidegate"]
    pod["volumes"] = [it for it in pod["volumes"] if not it["name"].startswith("tidegate-")]
    for container in pod["containers"]:
        hooks = container.get("lifecycle") or {}
        if (hooks.get("preStop") or {}).get("httpGet", {}).get("path") == "/drained":
            del hooks["preStop"]
    if pod[GRACE] >= 40:
        pod[GRACE] = pod_of(original).get(GRACE)
    return manifest


def pruned(value):
    """Without what says nothing."""
    if isinstance(value, dict):
        return {key: kept for key, inner in value.items() if (kept := pruned(inner)) not in (None, {}, [])}
    return [pruned(inner) for inner in value] if isinstance(value, list) else value


def faults_of(path):
    for manifest in documents(path):
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(manifest, version, strict=True)
            except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
                yield f"{path}: {manifest['kind']} in {version}: {error}"


def sidecar(manifest):
    pod = pod_of(manifest) or {}
    containers = (pod.get("initContainers") or []) + (pod.get("containers") or [])
    return next((container for container in containers if container["name"] == "tidegate"), None)


def main(paths):
    for original, gated in zip(paths[::2], paths[1::2]):
        for fault in [*faults_of(original), *faults_of(gated)]:
            print("fault", fault)
        before, after = list(documents(original)), list(documents(gated))
        added = [manifest for manifest in after if is_added(manifest)]
        sidecars = list(filter(None, map(sidecar, after)))
        for manifest, container in zip(added, sidecars):
            env = {variable["name"]: variable["value"] for variable in container["env"]}
            print("config", json.dumps({"file": gated, "toml": manifest["data"]["tidegate.toml"], "env": env}))
        kept = [manifest for manifest in after if not is_added(manifest)]
        left = [without_gate(manifest, first) for manifest, first in zip(kept, before)]
        if len(kept) != len(before) or pruned(left) != pruned(before):
            print("fault", f"{gated}: more was changed than the gate needs")
        if len(sidecars) != 1:
            print("fault", f"{gated}: it has {len(sidecars)} sidecars")


main(sys.argv[1:])
