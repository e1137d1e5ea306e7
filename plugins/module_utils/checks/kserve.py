# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""KServe: what its webhooks and its controller would do with a model, asked of the cluster without making one.

The API server carries out a dry run through all of admission and stores nothing
(https://kubernetes.io/docs/reference/using-api/api-concepts/#dry-run).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils.checks.admission import dry_run
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Access, Check, CheckFailed, expect
from ansible_collections.mlops.platform.plugins.module_utils.cluster import ApiError, Cluster, Object

MODELS_API = "serving.kserve.io/v1beta1"
RUNTIMES_API = "serving.kserve.io/v1alpha1"
PROTOCOL = "v2"
MODE = "serving.kserve.io/deploymentMode"
DEFAULT_MODE = "Knative"
"""The mode that KServe's defaulter leaves unsaid."""
SOURCE = "internal.serving.kserve.io/storage-initializer-sourceuri"
OF_MODEL = "serving.kserve.io/inferenceservice"
MODEL_CONTAINER = "kserve-container"
INITIALIZER = "storage-initializer"
TOO_FEW = "cannot be greater than MaxReplicas"
"""What KServe says to 2 replicas at least where 1 is the most."""


@dataclass(frozen=True)
class KserveAdmissionCheck(Check):
    """An InferenceService of each of `formats` is admitted in `mode`; one that cannot scale is refused by KServe."""

    namespace: str
    formats: tuple[str, ...]
    mode: str = DEFAULT_MODE

    def run(self, access: Access) -> tuple[object, object]:
        observed = {}
        for name in self.formats:
            made = dry_run(access.cluster, self._service(name, least=1))
            observed[name] = (made["metadata"].get("annotations") or {}).get(MODE, DEFAULT_MODE)
        expected = dict.fromkeys(self.formats, self.mode)
        expect(observed, expected, f"KServe would deploy models in another mode: {observed}")
        observed["wrong"], expected["wrong"] = self._refusal(access.cluster), "refused"
        return observed, expected

    def _refusal(self, cluster: Cluster) -> str:
        try:
            dry_run(cluster, self._service(self.formats[0], least=2))
        except ApiError as error:
            if TOO_FEW in str(error):
                return "refused"
            raise
        raise CheckFailed("an InferenceService that cannot scale was admitted", "admitted", "refused")

    def _service(self, name: str, least: int) -> Object:
        model = {"modelFormat": {"name": name}, "protocolVersion": PROTOCOL, "storageUri": "s3://nothing/here"}
        return {
            "apiVersion": MODELS_API,
            "kind": "InferenceService",
            "metadata": {"name": _name(), "namespace": self.namespace},
            "spec": {"predictor": {"minReplicas": least, "maxReplicas": 1, "model": model}},
        }


@dataclass(frozen=True)
class KserveRuntimesCheck(Check):
    """KServe has a runtime of `image` to choose for each of `formats`."""

    formats: tuple[str, ...]
    image: str

    def run(self, access: Access) -> tuple[object, object]:
        runtimes = access.cluster.list(RUNTIMES_API, "ClusterServingRuntime")
        observed = {name: sorted(_images(runtimes, name)) for name in self.formats}
        missing = [name for name, images in observed.items() if self.image not in images]
        others = ", ".join(image for name in missing for image in observed[name]) or "none"
        message = f"no ClusterServingRuntime of {self.image} takes {', '.join(missing)}; those that do: {others}"
        expect(missing, [], message)
        return observed, {name: [self.image] for name in self.formats}


def _images(runtimes: list[Object], model_format: str) -> set[str]:
    """The images of the runtimes that KServe chooses among for a format."""
    return {
        container["image"]
        for runtime in runtimes
        for container in runtime["spec"]["containers"]
        if container["name"] == MODEL_CONTAINER
        and not runtime["spec"].get("disabled")
        and PROTOCOL in runtime["spec"].get("protocolVersions", [])
        and any(
            item["name"] == model_format and item.get("autoSelect")
            for item in runtime["spec"].get("supportedModelFormats", [])
        )
    }


@dataclass(frozen=True)
class KservePodCheck(Check):
    """A model's pod in `namespace` is admitted, with what fetches its bytes: `image`, `endpoint` and login.

    The pod is what KServe's controller makes of a model below `artifact_root`, with `service_account`; `credentials`
    is the Secret that it must log in with.
    """

    namespace: str
    service_account: str
    image: str
    endpoint: str
    credentials: str
    artifact_root: str

    @property
    def target(self) -> str:
        return self.artifact_root

    def run(self, access: Access) -> tuple[object, object]:
        access.secret(f"{self.namespace}/{self.credentials}", "access-key", "secret-key")
        pod = dry_run(access.cluster, self._pod())
        found = [item for item in pod["spec"].get("initContainers", []) if item["name"] == INITIALIZER]
        if not found:
            raise CheckFailed("KServe puts no storage initializer into the pod of a model", None, self.image)
        observed = _fetching(found[0])
        expected = {"image": self.image, "endpoint": self.endpoint, "secrets": [self.credentials]}
        wrong = [f"{key} is {observed[key]}, not {value}" for key, value in expected.items() if observed[key] != value]
        expect(observed, expected, f"the storage initializer of a model: {'; '.join(wrong)}")
        return observed, expected

    def _pod(self) -> Object:
        security = {
            "allowPrivilegeEscalation": False,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        name = _name()
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": self.namespace,
                "labels": {OF_MODEL: name},
                "annotations": {SOURCE: f"{self.artifact_root.rstrip('/')}/nothing"},
            },
            "spec": {
                "serviceAccountName": self.service_account,
                "containers": [{"name": MODEL_CONTAINER, "image": self.image, "securityContext": security}],
            },
        }


def _fetching(container: dict[str, Any]) -> dict[str, Any]:
    """What a storage initializer is: its image, the S3 service that it asks, and the Secrets that it logs in with."""
    environment = {item["name"]: item for item in container.get("env", [])}
    references = [item.get("valueFrom", {}).get("secretKeyRef", {}).get("name") for item in environment.values()]
    return {
        "image": container["image"],
        "endpoint": environment.get("AWS_ENDPOINT_URL", {}).get("value"),
        "secrets": sorted({name for name in references if name}),
    }


def _name() -> str:
    return f"mlops-platform-validation-{secrets.token_hex(4)}"
