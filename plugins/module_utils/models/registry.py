# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A version of a model as MLflow's registry knows it, and where its files really are."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import yaml
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Access, CheckFailed, Service
from ansible_collections.mlops.platform.plugins.module_utils.checks.mlflow import MlflowApi
from ansible_collections.mlops.platform.plugins.module_utils.component import build
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.preflight.values import nearest

PYFUNC = "python_function"
"""The flavour by which every runtime for MLflow models loads them."""
PROXIED = "mlflow-artifacts"
"""The scheme of artifacts that the server reads and writes for its clients."""
REFERENCES = ("reference.parquet", "reference.json")
"""The artifacts in which a run may keep the rows that a model was trained with, as mlflow.log_table writes them."""
REQUIREMENT = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[^]]*\])?\s*(?:==\s*([\w.!+-]+))?")
"""A line of requirements.txt: a name, and a version where one is pinned."""
BUILDS = ("cpu", "gpu", "binary", "headless")
"""What the names of packages end in that bring the same modules as the one without it."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Field:
    """One input or output of a model: a column, or a tensor, which has a shape."""

    name: str
    type: str
    required: bool = True
    shape: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.name or 'input'}: {self.type}{list(self.shape) if self.shape else ''}"


@dataclass(frozen=True)
class Signature:
    """What a model takes and gives, as it was logged."""

    inputs: tuple[Field, ...]
    outputs: tuple[Field, ...]

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Signature:
        """The signature in an MLmodel file, whose `inputs` and `outputs` are JSON in text."""
        return cls(_fields(raw.get("inputs")), _fields(raw.get("outputs")))


def _fields(text: str | None) -> tuple[Field, ...]:
    found = []
    for item in json.loads(text or "[]"):
        tensor = item.get("tensor-spec") or {}
        kind = tensor.get("dtype") or item.get("type") or "?"
        shape = tuple(tensor.get("shape") or ())
        found.append(Field(str(item.get("name") or ""), str(kind), bool(item.get("required", True)), shape))
    return tuple(found)


@dataclass(frozen=True)
class ModelVersion:
    """A version of a registered model.

    `alias` is the one by which it was asked for, "" where it was asked for by its number. `uri` is the S3 URI of the
    folder with its files, `source` the same folder as MLflow names it. `flavors` are the MLmodel file's,
    `input_example` is the path of the logged rows in the folder ("" where none were logged), `requirements` are the
    packages that it was logged with, by their names, with the version that was pinned or "". `reference` is the S3 URI
    of the rows that it was trained with, "" where nobody has looked for them (`reference`).
    """

    name: str
    version: str
    alias: str
    run_id: str
    model_id: str
    uri: str
    source: str
    flavors: Mapping[str, Mapping[str, Any]]
    signature: Signature | None
    input_example: str
    requirements: Mapping[str, str]
    reference: str = ""

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"

    @property
    def flavor(self) -> str:
        """The flavour that it was logged with besides the common one, for people."""
        return next((name for name in self.flavors if name != PYFUNC), PYFUNC)


@dataclass(frozen=True)
class Tracking:
    """The platform's MLflow: its Service, the Secret of a user, and where the server keeps artifacts in S3."""

    service: Service
    credentials: str
    artifact_root: str

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Tracking:
        """From plain data, {service: {name, port, namespace}, credentials, artifact_root}."""
        return build(cls, {**raw, "service": Service.parse(raw.get("service"), "mlflow")}, "mlflow")

    def api(self, access: Access) -> MlflowApi:
        """Its REST API, for requests that follow each other soon."""
        return MlflowApi(access.url(self.service), *access.secret(self.credentials, "username", "password"))

    def environment(self, access: Access) -> dict[str, str]:
        """The variables by which MLflow's own client finds it."""
        username, password = access.secret(self.credentials, "username", "password")
        return {
            "MLFLOW_TRACKING_URI": access.url(self.service),
            "MLFLOW_TRACKING_USERNAME": username,
            "MLFLOW_TRACKING_PASSWORD": password,
        }


class NotRegistered(PlatformError):
    """A model, a version or an alias that the registry does not have."""


def resolve(api: MlflowApi, name: str, artifact_root: str, *, alias: str = "", version: str = "") -> ModelVersion:
    """The version of the model `name` that has an alias, or that has a number.

    `artifact_root` is where the server keeps what it stores for its clients, an S3 URI (`mlflow_artifact_root`).
    Raises NotRegistered where the registry does not have it, naming what it has, and PlatformError where its files are
    not there or no S3 location.
    """
    found = registered_version(api, name, alias, version)
    number = str(found["version"])
    located = api.call("GET", "model-versions/get-download-uri", name=name, version=number)
    source = str(located["artifact_uri"]).rstrip("/")
    uri = s3_uri(source, artifact_root)
    place = folder(source, artifact_root)
    about = yaml.load(_file(api, place, "MLmodel", name, number, uri), Loader=_Loader)  # noqa: S506  (a safe one)
    requirements = _file(api, place, "requirements.txt", name, number, uri, needed=False)
    signature = about.get("signature")
    return ModelVersion(
        name=name,
        version=number,
        alias=alias,
        run_id=str(found.get("run_id") or ""),
        model_id=str(about.get("model_id") or ""),
        uri=uri,
        source=source,
        flavors=about.get("flavors") or {},
        signature=Signature.parse(signature) if signature else None,
        input_example=str((about.get("saved_input_example_info") or {}).get("artifact_path") or ""),
        requirements=pinned(requirements),
    )


def reference(api: MlflowApi, model: ModelVersion, artifact_root: str) -> str:
    """The S3 URI of the rows that a version was trained with, which its run logged as one of REFERENCES.

    Raises PlatformError where it has none, with what it has.
    """
    listed = api.call("GET", "artifacts/list", run_id=model.run_id) if model.run_id else {}
    names = [item["path"] for item in listed.get("files") or []]
    for name in REFERENCES:
        if name in names:
            return f"{s3_uri(str(listed['root_uri']), artifact_root)}/{name}"
    has = (
        f"its run {model.run_id} logged {', '.join(names) or 'nothing'}" if model.run_id else "it was logged in no run"
    )
    raise PlatformError(
        f"{model} has no rows to compare its inputs with (drift): {has}; log the training rows in the run, "
        f'mlflow.log_table(rows, "{REFERENCES[0]}"), or say drift: false'
    )


def s3_uri(source: str, artifact_root: str) -> str:
    """Where an artifact really is: what the server keeps for its clients is below its `artifact_root`.

    Raises PlatformError for a place that is no S3 service's.
    """
    parts = urlsplit(source)
    if parts.scheme == "s3":
        return source
    if parts.scheme != PROXIED:
        raise PlatformError(
            f"the model's files are at {source}; a model that is served must be in S3, where mlflow_artifact_root is"
        )
    return f"{artifact_root.rstrip('/')}/{parts.path.strip('/')}"


def folder(source: str, artifact_root: str) -> str:
    """The path of an artifact as the server's own API names it."""
    if urlsplit(source).scheme == PROXIED:
        return urlsplit(source).path.strip("/")
    root = f"{artifact_root.rstrip('/')}/"
    if not source.startswith(root):
        raise PlatformError(f"the artifacts are at {source}, which is not below mlflow_artifact_root {root}")
    return source.removeprefix(root)


def registered_version(api: MlflowApi, name: str, alias: str, version: str) -> dict[str, Any]:
    """The registry's own entry of the version that has a number, or where that is empty an alias.

    Raises NotRegistered where there is none. A server with logins answers 403 for a model that is not there.
    """
    try:
        if version:
            found: dict[str, Any] = api.call("GET", "model-versions/get", name=name, version=version)["model_version"]
        else:
            found = api.call("GET", "registered-models/alias", name=name, alias=alias)["model_version"]
    except CheckFailed as error:
        if error.observed not in (400, 403, 404):
            raise
        raise _missing(api, name, alias, version, error) from error
    if found.get("status", "READY") != "READY":
        raise PlatformError(
            f"version {found['version']} of the model {name} is {found['status']} in the registry: "
            f"{found.get('status_message') or 'its files are not complete'}"
        )
    return found


def _missing(api: MlflowApi, name: str, alias: str, version: str, error: CheckFailed) -> PlatformError:
    """Why the registry has no such thing, with the names that it has."""
    models = {item["name"]: item for item in registered(api)}
    if name not in models:
        known = f"registered are {', '.join(sorted(models))}" if models else "no model is registered yet"
        return NotRegistered(f"the model {name!r} is not in the registry{nearest(name, models)}; {known}")
    if version:
        newest = max((int(item["version"]) for item in models[name].get("latest_versions") or []), default=0)
        return NotRegistered(f"the model {name} has no version {version}; its newest is {newest}")
    aliases = {item["alias"]: item["version"] for item in models[name].get("aliases") or []}
    if alias in aliases:
        return PlatformError(str(error))
    known = ", ".join(f"{key} (version {value})" for key, value in sorted(aliases.items())) or "none"
    return NotRegistered(f"the model {name} has no alias {alias!r}{nearest(alias, aliases)}; its aliases are {known}")


def registered(api: MlflowApi) -> list[dict[str, Any]]:
    """All models of the registry that the user may see, with their newest versions and aliases."""
    found: list[dict[str, Any]] = []
    token = ""
    while True:
        page = {"page_token": token} if token else {}
        answer = api.call("GET", "registered-models/search", max_results=100, **page)
        found += answer.get("registered_models") or []
        token = str(answer.get("next_page_token") or "")
        if not token:
            return found


def _file(api: MlflowApi, place: str, path: str, name: str, version: str, uri: str, *, needed: bool = True) -> str:
    """A file of the model through the server; empty where it is not there and is not needed."""
    try:
        return api.artifact("GET", f"{place}/{path}").decode()
    except CheckFailed as error:
        absent = error.observed == 404 or re.search(r"\(404\)|NoSuchKey|Not Found", str(error))
        if not absent:
            raise
        if needed:
            raise PlatformError(
                f"version {version} of the model {name} is in the registry, but its files are not in S3: "
                f"{uri}/{path} does not exist (NoSuchKey); log and register the model again, or deploy another version"
            ) from error
        return ""


def pinned(requirements: str) -> dict[str, str]:
    """The packages of a requirements.txt by their normalized names, with the versions that are pinned or ""."""
    found: dict[str, str] = {}
    for line in requirements.splitlines():
        match = REQUIREMENT.match(line.strip())
        if match:
            found[normalized(match[1])] = match[2] or ""
    return found


def normalized(package: str) -> str:
    """The one spelling of a Python package's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", package).lower()


def lacking(model: ModelVersion, packages: Mapping[str, str]) -> list[str]:
    """The packages that a model was logged with and that a server does not have; it need not use them all.

    `packages` are the server's, by their normalized names. A different version is no lack, nor is another build.
    """
    return sorted(
        name
        for name in model.requirements
        if name not in packages and not any(f"{name}-{build}" in packages for build in BUILDS)
    )


def broken_promises(before: Signature | None, after: Signature | None) -> list[str]:
    """What clients of one signature can no longer rely on with another one; empty where they notice nothing.

    A new input that is not required, and an output that is new, are no change to them.
    """
    if before is None or after is None:
        return [] if before == after else ["one of the two was logged without a signature"]
    return [*_inputs(before.inputs, after.inputs), *_outputs(before.outputs, after.outputs)]


def _inputs(before: Sequence[Field], after: Sequence[Field]) -> list[str]:
    old, new = {item.name: item for item in before}, {item.name: item for item in after}
    gone = [f"the input {old[name]} is gone" for name in old if name not in new]
    added = [f"the input {new[name]} is new and required" for name in new if name not in old and new[name].required]
    other = [
        f"the input {name or 'tensor'} was {old[name].type}{list(old[name].shape) or ''} "
        f"and is {new[name].type}{list(new[name].shape) or ''}"
        for name in old
        if name in new and (old[name].type, old[name].shape) != (new[name].type, new[name].shape)
    ]
    must = [
        f"the input {name} was optional and is required"
        for name in old
        if name in new and new[name].required and not old[name].required
    ]
    return [*gone, *added, *other, *must]


def _outputs(before: Sequence[Field], after: Sequence[Field]) -> list[str]:
    old, new = {item.name: item for item in before}, {item.name: item for item in after}
    gone = [f"the output {old[name]} is gone" for name in old if name not in new]
    other = [
        f"the output {name or 'tensor'} was {old[name].type} and is {new[name].type}"
        for name in old
        if name in new and old[name].type != new[name].type
    ]
    return [*gone, *other]
