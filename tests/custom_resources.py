"""Custom resources held against the definitions that they are of, without a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jsonschema

Schemas = Mapping[tuple[str, str], jsonschema.Draft7Validator]
"""By (apiVersion, kind)."""
LONGEST = 300
"""Characters of a problem that are told."""


def schemas(manifests: Iterable[Mapping[str, Any]]) -> Schemas:
    """The schemas in the definitions among some manifests."""
    return {
        (f"{item['spec']['group']}/{version['name']}", item["spec"]["names"]["kind"]): jsonschema.Draft7Validator(
            _strict(version["schema"]["openAPIV3Schema"])
        )
        for item in manifests
        if item["kind"] == "CustomResourceDefinition"
        for version in item["spec"]["versions"]
    }


def problems(manifest: Mapping[str, Any], known: Schemas) -> Iterator[str]:
    """What is wrong with a custom resource whose definition is known; nothing for others."""
    schema = known.get((manifest["apiVersion"], manifest["kind"]))
    what = f"{manifest['kind']} {manifest['metadata']['name']}"
    content = {key: value for key, value in manifest.items() if key != "metadata"}
    for error in schema.iter_errors(content) if schema else ():
        yield f"{what}: {'.'.join(map(str, error.path))}: {error.message[:LONGEST]}"


def _strict(schema: Any) -> Any:
    """A structural schema as JSON Schema: fields that it does not know, which an API server would drop, are wrong.

    https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
    """
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    found = {
        key: _strict(value) if key in ("items", "additionalProperties") else value for key, value in schema.items()
    }
    if "properties" in schema:
        found["properties"] = {name: _strict(value) for name, value in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            found.setdefault("additionalProperties", False)
    if schema.get("nullable") and "type" in schema:
        found["type"] = [schema["type"], "null"]
    return found
