"""What goes wrong with models that are to be served: each is told with its cause, soon, and changes nothing else."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import secrets
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import served
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Access
from ansible_collections.mlops.platform.plugins.module_utils.cluster import ApiError
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.forward import Forwards
from ansible_collections.mlops.platform.plugins.module_utils.models.deploy import deployed
from ansible_collections.mlops.platform.plugins.module_utils.models.lifecycle import Model
from ansible_collections.mlops.platform.plugins.module_utils.models.registry import Tracking, resolve
from ansible_collections.mlops.platform.plugins.module_utils.rollout import pod_problem
from faults.conftest import inventory
from faults.platform import PLAYBOOK, ROOT, Platform, quiet, until
from faults.sets import SERVING_ONLY

pytestmark = SERVING_ONLY

SECONDS = 60
"""From the moment at which a fault is final to its report."""
Named = Callable[..., Model]


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Named:
    """What the platform does with a model of a name, as its playbooks do."""
    file = tmp_path_factory.mktemp("models") / "model.json"
    command: list[str | Path] = [PLAYBOOK, ROOT / "tests" / "faults" / "models.yml", "-i", inventory()]
    subprocess.run([*command, "-e", f"description={file}"], check=True, cwd=ROOT)
    raw: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))

    def make(name: str, **settings: object) -> Model:
        record = {"declared": False, "settings": {"name": name, **settings}}
        return Model.parse({**raw, "record": record}, quiet)

    return make


@pytest.fixture
def name() -> str:
    """The name of a model of this test alone."""
    return f"test-{secrets.token_hex(3)}"


@contextlib.contextmanager
def registered(model: Model, *versions: served.Log) -> Iterator[None]:
    """Versions of the model in the platform's registry; at the end it is served no more."""
    with Forwards(model.cluster) as forwards:
        access = Access(model.cluster, forwards, model.serving.namespace)
        with served.registered(Tracking.parse(model.mlflow).environment(access), model.settings.name, *versions):
            try:
                yield
            finally:
                if deployed(model.cluster, model.serving, model.settings.name):
                    model.remove()


def objects_removed(platform: Platform, model: Model) -> None:
    """Somebody deletes the files of the champion in S3."""
    with Forwards(model.cluster) as forwards:
        tracking = Tracking.parse(model.mlflow)
        api = tracking.api(Access(model.cluster, forwards, model.serving.namespace))
        uri = resolve(api, model.settings.name, tracking.artifact_root, alias="champion").uri
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    with platform.at("minio").minio() as (s3, _):
        for item in s3.list_objects(bucket, f"{prefix}/", recursive=True):
            s3.remove_object(bucket, str(item.object_name))


def pods(model: Model) -> list[dict[str, Any]]:
    """The pods of a model."""
    return model.cluster.list("v1", "Pod", model.serving.namespace, f"mlops.platform/component={model.name}")


def in_time(model: Model, act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The result of an act that fails, at most SECONDS after a pod's failure was final."""
    final: list[float] = []
    over = threading.Event()

    def look() -> None:
        last = False
        while not final and not last:
            last = over.wait(0.5)  # who acts may see it first, and is over by then
            if any((problem := pod_problem(pod)) and problem.final for pod in pods(model)):
                final.append(time.monotonic())

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        result = act()
    finally:
        over.set()
        watcher.join()
    assert final, result["msg"]
    assert time.monotonic() - final[0] <= SECONDS, result["msg"]
    return result


def told(result: dict[str, Any], check: str) -> str:
    """What the first check that failed says; it is the one that must."""
    assert result["failed_checks"][:1] == [check], result["checks"]
    return str(result["msg"])


def test_an_alias_that_does_not_exist(named: Named, name: str) -> None:
    model = named(name, alias="challenger")
    with (
        registered(model, served.tree),
        pytest.raises(PlatformError, match=r"no alias 'challenger'; its aliases are champion \(version 1\)"),
    ):
        model.provision()
    assert deployed(model.cluster, model.serving, name) is None


def test_a_model_that_crashes_when_it_is_loaded_there(named: Named, name: str) -> None:
    model = named(name)
    with registered(model, served.coded("crashes.py")):
        result = in_time(model, model.provision)
        assert re.search(r"crashed \d+ times.*RuntimeError: no weights are here", told(result, "rollout"))


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (served.coded("lacking.py", "boto3"), "needs the Python package boto3, which the model server does not have"),
        (served.bare, "no rows to compare predictions with"),
    ],
    ids=["packages", "rows"],
)
def test_what_cannot_be_served_or_proven_is_refused_untouched(
    named: Named, name: str, log: served.Log, words: str
) -> None:
    model = named(name)
    with registered(model, log), pytest.raises(PlatformError, match=words):
        model.provision()
    assert deployed(model.cluster, model.serving, name) is None


def test_wrong_credentials_of_s3(platform: Platform, named: Named, name: str) -> None:
    model = named(name)
    space = model.serving.namespace
    with registered(model, served.tree):
        before = platform.cluster.get("v1", "Secret", "minio-models", space)
        assert before
        wrong = {"secret-key": base64.b64encode(b"another-key-than-that-of-the-user").decode()}
        platform.patch("v1", "Secret", "minio-models", {"data": wrong}, space)
        try:
            result = in_time(model, model.provision)
        finally:
            platform.patch("v1", "Secret", "minio-models", {"data": before["data"]}, space)
        assert "SignatureDoesNotMatch" in told(result, "rollout")
        # What it lacked is there again: the next run goes on, though its pod would not yet.
        assert model.provision()["healthy"]


def test_webhooks_that_do_not_answer(platform: Platform, named: Named, name: str) -> None:
    model = named(name)
    kserve = platform.at("kserve")
    controller = "kserve-controller-manager"
    with registered(model, served.tree):
        kserve.scale("Deployment", controller, 0)
        until(lambda: not kserve.cluster.list("v1", "Pod", kserve.namespace, f"control-plane={controller}"))
        started = time.monotonic()
        try:
            with pytest.raises(ApiError, match=r"failed calling webhook .*inferenceservice"):
                model.provision()
        finally:
            kserve.scale("Deployment", controller, 1)
        assert time.monotonic() - started <= SECONDS
        kserve.repair("kserve")
        assert model.provision()["healthy"]


def test_the_files_of_a_model_are_deleted(platform: Platform, named: Named, name: str) -> None:
    model = named(name)
    with registered(model, served.tree):
        assert model.provision()["healthy"]
        objects_removed(platform, model)
        with pytest.raises(PlatformError, match=r"its files are not in S3: .*/MLmodel does not exist"):
            model.provision()
        for pod in pods(model):
            model.cluster.delete("v1", "Pod", pod["metadata"]["name"], model.serving.namespace)
        result = in_time(model, model.validate)
        assert re.search("no such object|NoSuchKey", told(result, "rollout"))
