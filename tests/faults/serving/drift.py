"""What goes wrong with the comparison of what models are given."""

from __future__ import annotations

from collections.abc import Iterator

from faults.faults import Fault, unguarded
from faults.platform import Platform, until

COMPARED = "sees what has drifted"


def suspended(platform: Platform) -> Iterator[None]:
    """Somebody suspends the schedule."""
    here = platform.at("drift")
    here.patch("batch/v1", "CronJob", "drift", {"spec": {"suspend": True}}, here.namespace)
    yield
    here.patch("batch/v1", "CronJob", "drift", {"spec": {"suspend": False}}, here.namespace)


def key_changed(platform: Platform) -> Iterator[None]:
    """Somebody writes another key into the Secret of the component."""
    here = platform.at("drift")
    before = here.cluster.get("v1", "Secret", "minio-drift", here.namespace)
    assert before is not None
    here.patch("v1", "Secret", "minio-drift", {"data": {"secret-key": "YW5vdGhlcg=="}}, here.namespace)
    yield
    here.patch("v1", "Secret", "minio-drift", {"data": before["data"]}, here.namespace)


def exporter_away(platform: Platform) -> Iterator[None]:
    """Somebody takes the exporter's pod away."""
    here = platform.at("drift")
    here.scale("Deployment", "drift", 0)
    until(lambda: not here.pods("drift"))
    yield


FAULTS = (
    Fault("its schedule is suspended", "drift", COMPARED, "CronJob models/drift is suspended", suspended),
    Fault(
        "its key is not the storage's", "drift", COMPARED, "SignatureDoesNotMatch|signature", key_changed,
    ),
    Fault("the exporter is away", "drift", "exporter", "no pod", exporter_away),
    unguarded("drift", 90),
)  # fmt: skip
