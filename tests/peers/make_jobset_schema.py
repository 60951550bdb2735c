"""Writes jobset_schema.json from a checkout of JobSet: python make_jobset_schema.py CHECKOUT.

Its resource definition is under the Apache License 2.0, copyright The Kubernetes Authors. Left out: descriptions.
Added: an object has no field besides those it states, which is what `kubectl apply --validate=strict` holds to.
"""

import json
import pathlib
import subprocess
import sys

import yaml

PATH = "config/components/crd/bases/jobset.x-k8s.io_jobsets.yaml"


def closed(schema):
    """A schema whose objects take no other fields."""
    if isinstance(schema, list):
        return [closed(x) for x in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: closed(x) for key, x in schema.items() if not (key == "description" and isinstance(x, str))}
    if isinstance(found.get("properties"), dict) and "type" in found and "additionalProperties" not in found:
        found["additionalProperties"] = False
    return found


def main(checkout):
    def git(*words):
        return subprocess.run(["git", "-C", checkout, *words], capture_output=True, text=True, check=True).stdout

    definition = yaml.safe_load(git("show", f"HEAD:{PATH}"))
    (version,) = definition["spec"]["versions"]
    schema = closed(version["schema"]["openAPIV3Schema"])
    # Kubernetes' own metadata is not spelled out there; these are the fields we use.
    text = {"type": "object", "additionalProperties": {"type": "string"}}
    name = {"type": "string", "maxLength": 63, "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$"}
    fields = {"name": name, "namespace": name, "labels": text, "annotations": text}
    schema["properties"]["metadata"] = {"type": "object", "properties": fields, "additionalProperties": False}
    commit = git("rev-parse", "HEAD").strip()
    source = f"{PATH} of kubernetes-sigs/jobset at {commit}; Apache-2.0, copyright The Kubernetes Authors"
    out = pathlib.Path(__file__).parent / "jobset_schema.json"
    out.write_text(json.dumps({"$comment": source, "version": version["name"], **schema}, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
