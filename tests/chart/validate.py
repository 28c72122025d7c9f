"""Reads what Helm has rendered, and judges it by the schemas of Kubernetes.

Standard input: JSON, a list of {"yaml": text, "versions": ["1.25", ...]}. Standard output: JSON, a list of
{"manifests": [...], "faults": ["Kind/name (1.25): spec.x: ..."]} in the same order. One process for many, because the
schemas take longer to read than to apply. Custom resources are judged by the files in schemas/, one for each kind.
"""

import functools
import json
import pathlib
import re
import sys

import jsonschema
import yaml
from kubernetes_validate import utils
from referencing import Registry, Resource

OWN_SCHEMAS = pathlib.Path(__file__).parent / "schemas"


class Loader(yaml.CSafeLoader):
    """YAML as Kubernetes reads it: no key twice, and a date is text."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":value"))]
        for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


Loader.add_constructor("tag:yaml.org,2002:map", lambda loader, node: loader.construct_mapping(node, deep=True))


@functools.cache
def definitions(folder, version):
    return Resource.from_contents(utils.schema_contents(f"kubernetes-json-schema/{folder}/_definitions.json", version))


@functools.cache
def validator(kind, api_version, version):
    own = OWN_SCHEMAS / f"{kind}.json"
    if own.exists():
        schema = json.loads(own.read_text())
        if schema["properties"]["apiVersion"]["const"] == api_version:
            return jsonschema.Draft202012Validator(schema)
    full = next(v for v in utils.all_versions() if utils.major_minor(v) == version)
    folder = f"v{full}-local-strict"
    name = kind.lower() + "-" + re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api_version)
    try:
        schema = utils.schema_contents(f"kubernetes-json-schema/{folder}/{name}.json", version)
    except FileNotFoundError:
        return None
    registry = definitions(folder, version) @ (Resource.from_contents(schema) @ Registry())
    return jsonschema.Draft202012Validator(schema, registry=registry)


def faults_of(manifest, version):
    if not isinstance(manifest, dict) or not {"kind", "apiVersion", "metadata"} <= manifest.keys():
        return [f"this is no manifest: {json.dumps(manifest)[:100]}"]
    kind, name = manifest["kind"], manifest["metadata"].get("name")
    what = f"{kind}/{name} ({version})"
    judge = validator(kind, manifest["apiVersion"], version)
    if judge is None:
        return [f"{what}: Kubernetes has no {kind} in {manifest['apiVersion']}, and tests/chart/schemas has none"]
    return [f"{what}: {'.'.join(map(str, e.absolute_path))}: {e.message[:400]}" for e in judge.iter_errors(manifest)]


def judged(asked):
    try:
        manifests = [one for one in yaml.load_all(asked["yaml"], Loader=Loader) if one is not None]
    except yaml.YAMLError as error:
        return {"manifests": [], "faults": [f"this is no YAML: {error}"]}
    faults = [fault for version in asked["versions"] for one in manifests for fault in faults_of(one, version)]
    return {"manifests": manifests, "faults": faults}


json.dump([judged(asked) for asked in json.load(sys.stdin)], sys.stdout)
