"""Validates objects against the schemas that kubernetes-validate brings, strictly: a field that the schema does not know is a mistake.

In: JSON lines {version, source, object} on standard input. Out: one line a mistake. The schemas are read once a version; the same object
of several sources is checked once a version.
"""

import json
import re
import sys
from pathlib import Path

import jsonschema
import kubernetes_validate
from referencing import Registry, Resource

SCHEMAS = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
registries = {}
validators = {}


def read(version, file):
    return json.loads((SCHEMAS / f"v{version}-local-strict" / file).read_text())


def validator(version, kind, api_version):
    key = (version, kind, api_version)
    if key not in validators:
        if version not in registries:
            registries[version] = Resource.from_contents(read(version, "_definitions.json")) @ Registry()
        group = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api_version)
        try:
            schema = read(version, f"{kind.lower()}-{group}.json")
        except FileNotFoundError:
            validators[key] = None
        else:
            registry = Resource.from_contents(schema) @ registries[version]
            validators[key] = jsonschema.validators.Draft202012Validator(schema, registry=registry)
    return validators[key]


seen = set()
for line in sys.stdin:
    entry = json.loads(line)
    found = entry["object"]
    minor = ".".join(entry["version"].split(".")[:2])
    full = next((path.name[1:].split("-")[0] for path in SCHEMAS.iterdir() if re.match(rf"v{re.escape(minor)}(\.\d+)?-local-strict$", path.name)), None)
    where = f"{entry['source']} for {entry['version']}: {found.get('kind')}/{found.get('metadata', {}).get('name')}"
    if full is None:
        print(f"{where}: no schemas of this version")
        continue
    key = (full, json.dumps(found, sort_keys=True))
    if key in seen:
        continue
    seen.add(key)
    check = validator(full, found.get("kind", ""), found.get("apiVersion", ""))
    if check is None:
        print(f"{where}: no schema of {found.get('apiVersion')}")
        continue
    for mistake in check.iter_errors(found):
        print(f"{where}: {'.'.join(map(str, mistake.path))}: {mistake.message[:300]}")
