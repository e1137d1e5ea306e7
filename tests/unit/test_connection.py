"""The check of connections against an API that tells how its pod ended."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.checks import connection
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import (
    PROBE_LABEL,
    Access,
    CheckFailed,
    External,
    NotYet,
    Service,
)
from ansible_collections.mlops.platform.plugins.module_utils.checks.connection import PROGRAM, ConnectionCheck
from ansible_collections.mlops.platform.plugins.module_utils.cluster import ApiError, Cluster, Resource
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.forward import Forwards
from pod_rules import restricted

Object = dict[str, Any]
MINIO = Service("minio", 9000)
CONNECT = """
import socket, sys
socket.create_connection((sys.argv[3], int(sys.argv[4])), float(sys.argv[2]))
"""
"""What `nc -w <seconds> <host> <port> -e true` does."""


@dataclass
class Tunnel:
    """A connection to a pod whose server waits, or to nobody."""

    connection: socket.socket
    refusal: str = ""

    def error(self) -> str:
        return self.refusal


@dataclass
class Api:
    """A cluster in which the pod of a check ends in `phase`."""

    phase: str = "Succeeded"
    policies: tuple[str, ...] = ("minio-default-deny",)
    listening: bool = True
    refusal: str = ""
    status: Object = field(default_factory=dict)
    left: list[Object] = field(default_factory=list)
    made: list[Object] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    ends: list[socket.socket] = field(default_factory=list)

    def resource(self, api_version: str, kind: str) -> Resource:
        return Resource(api_version, kind, kind.lower() + "s", True)

    def request(self, method: str, path: str, *, body: Object) -> Object:
        if self.refusal:
            raise ApiError(self.refusal, 403)
        assert (method, path) == ("POST", f"/api/v1/namespaces/{body['metadata']['namespace']}/pods")
        self.made.append(body)
        return body

    def get(self, api_version: str, kind: str, name: str, namespace: str) -> Object | None:
        if kind == "NetworkPolicy":
            assert namespace == "mlops"
            return {} if name in self.policies else None
        if name == "minio-0":
            return {"status": {"podIP": "10.244.0.9"}}
        status = {"phase": self.phase, **self.status}
        return {"metadata": {"name": name}, "status": status} if self.phase else None

    def list(self, api_version: str, kind: str, namespace: str, selector: str) -> list[Object]:
        assert selector == f"{PROBE_LABEL}=connection"
        return self.left

    def delete(self, api_version: str, kind: str, name: str, namespace: str) -> bool:
        self.deleted.append(name)
        return True

    def watch(self, *_: object) -> Iterator[Object]:
        return iter(())

    def tunnel(self, namespace: str, pod: str, port: int) -> Tunnel:
        assert (namespace, pod) == ("mlops", "minio-0")
        near, far = socket.socketpair()
        self.ends.append(far)
        if self.listening:
            return Tunnel(near)
        far.close()
        return Tunnel(near, "failed to connect to localhost:8001: connect: connection refused")


class Pods:
    """Finds the one pod behind a Service."""

    def endpoint(self, namespace: str, service: str, port: int) -> tuple[str, int]:
        assert (namespace, service) == ("mlops", "minio")
        return "minio-0", port


def check(expect: str, **values: Any) -> ConnectionCheck:
    return ConnectionCheck(
        "strangers are refused",
        MINIO,
        expect=expect,
        **{"policy": "minio-default-deny", "image": "busybox:1", **values},
    )


def run(api: Api, made: ConnectionCheck, seconds: float = 5.0) -> tuple[object, object]:
    return made.run(Access(cast(Cluster, api), cast(Forwards, Pods()), "mlops", deadline=time.monotonic() + seconds))


@pytest.mark.parametrize("expect", ["open", "refused"])
def test_a_pod_that_ended_well_saw_what_is_expected(expect: str) -> None:
    api = Api()
    assert run(api, check(expect)) == (expect, expect)
    (pod,) = api.made
    assert api.deleted == [pod["metadata"]["name"]]


def test_the_pod_goes_straight_to_the_pod_and_is_restricted() -> None:
    api = Api()
    run(
        api, check("open", labels={"mlops.platform/client": "true"}, client="models", pull_secrets=["login"], port=9001)
    )
    (pod,) = api.made
    assert pod["metadata"]["namespace"] == "models"
    assert pod["metadata"]["labels"] == {"mlops.platform/client": "true", PROBE_LABEL: "connection"}
    values = {item["name"]: item["value"] for item in pod["spec"]["containers"][0]["env"]}
    assert (values["HOST"], values["PORT"], values["EXPECT"]) == ("10.244.0.9", "9001", "open")
    assert list(restricted(pod["spec"])) == []
    assert pod["spec"]["imagePullSecrets"] == [{"name": "login"}]
    assert pod["spec"]["securityContext"]["runAsUser"] == 65532


def test_where_the_cluster_chooses_users_the_pod_names_none() -> None:
    api = Api()
    run(api, check("open", any_user=True))
    assert "runAsUser" not in api.made[0]["spec"]["securityContext"]


def test_a_policy_that_is_not_there_is_named_with_what_its_absence_does() -> None:
    api = Api(phase="Failed", policies=())
    with pytest.raises(
        CheckFailed, match=r"mlops/minio-default-deny is not there; a pod in mlops reaches minio:9000"
    ) as found:
        run(api, check("refused"))
    assert (found.value.observed, found.value.expected) == ("open", "refused")
    values = {item["name"]: item["value"] for item in api.made[0]["spec"]["containers"][0]["env"]}
    assert values["TRIES"] == "1", "what is not there needs no time to be enforced"


def test_a_policy_that_others_stand_in_for_is_missed_all_the_same() -> None:
    with pytest.raises(CheckFailed, match="is not there; a pod in mlops does not reach"):
        run(Api(policies=()), check("refused"))


def test_a_network_that_does_not_enforce_is_told_of() -> None:
    with pytest.raises(CheckFailed, match="does not enforce NetworkPolicies; if it cannot, set platform_network_pol"):
        run(Api(phase="Failed"), check("refused"))


def test_a_client_that_does_not_get_in_is_told_of() -> None:
    with pytest.raises(CheckFailed, match=r"does not reach minio:9000, although .* lets it in"):
        run(Api(phase="Failed"), check("open"))


def test_silence_of_a_server_that_is_not_there_is_no_refusal() -> None:
    api = Api(listening=False)
    with pytest.raises(NotYet, match="nobody listens at port 9000 of pod mlops/minio-0: connection refused"):
        run(api, check("refused"))
    assert api.made == []


def test_a_pod_that_reaches_nothing_says_nothing_of_a_policy() -> None:
    ended = {"containerStatuses": [{"state": {"terminated": {"exitCode": connection.SHUT_IN}}}]}
    with pytest.raises(NotYet, match="in mlops, reaches not even the API server"):
        run(Api(phase="Failed", status=ended), check("refused"))


def test_a_pod_that_does_not_run_says_why() -> None:
    condition = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}
    with pytest.raises(NotYet, match="cannot be scheduled: 0/1 nodes are available"):
        run(Api(phase="Pending", status={"conditions": [condition]}), check("open"), seconds=1.2)


def test_a_pod_that_will_not_start_is_not_waited_for() -> None:
    waiting = {"reason": "ImagePullBackOff", "message": "not found"}
    status = {"containerStatuses": [{"name": "try", "state": {"waiting": waiting}}]}
    with pytest.raises(CheckFailed, match=r"does not start: pod .* ImagePullBackOff: not found"):
        run(Api(phase="Pending", status=status), check("open"), seconds=60)


def test_a_pod_that_is_not_admitted_says_why() -> None:
    with pytest.raises(CheckFailed, match="no pod could be made to try it: exceeded quota"):
        run(Api(refusal="exceeded quota"), check("open"))


def test_pods_of_killed_runs_are_removed() -> None:
    old = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    api = Api(left=[{"metadata": {"name": "old", "creationTimestamp": old}}])
    run(api, check("open"))
    assert api.deleted[0] == "old"


@pytest.mark.parametrize(
    ("values", "said"), [({"expect": "closed"}, "allowed are open, refused"), ({}, "name and a port")]
)
def test_what_cannot_be_is_refused(values: Object, said: str) -> None:
    service = MINIO if values else External("https://s3.example.org", "url")
    with pytest.raises(PlatformError, match=said):
        ConnectionCheck("wrong", service, **{"expect": "open", "policy": "x", "image": "y", **values})


@pytest.mark.parametrize("out", [True, False])
@pytest.mark.parametrize("expect", ["open", "refused"])
@pytest.mark.parametrize("listens", [True, False])
def test_the_program_ends_well_when_it_sees_what_is_expected(
    tmp_path: Path, expect: str, listens: bool, out: bool
) -> None:
    """With a stand-in for busybox's nc, which ends well when it is connected."""
    tool = tmp_path / "nc"
    tool.write_text(f"#!{sys.executable}\n{CONNECT}")
    tool.chmod(0o755)
    with (
        contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server,
        contextlib.closing(socket.create_server(("127.0.0.1", 0))) as api,
    ):
        values = {"HOST": "127.0.0.1", "PORT": str(server.getsockname()[1]), "EXPECT": expect, "TRIES": "1"}
        values |= {"SILENCE": "2", "KUBERNETES_SERVICE_HOST": "127.0.0.1"}
        values["KUBERNETES_SERVICE_PORT"] = str(api.getsockname()[1])
        for unwanted in [server] * (not listens) + [api] * (not out):
            unwanted.close()
        environment = {**os.environ, **values, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        done = subprocess.run(["/bin/sh", "-c", PROGRAM], env=environment, capture_output=True, check=False)
    seen = 0 if (expect == "open") == listens else 1
    assert done.returncode == (seen if out or expect == "open" else connection.SHUT_IN)
