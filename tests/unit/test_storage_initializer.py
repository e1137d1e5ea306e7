"""How the storage initializer's image says what went wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from programs import load_program

PLACE = "s3://mlflow/1/models/m-1/artifacts"


def refused(code: str, status: int, message: str) -> ClientError:
    """What a server of S3 answers."""
    answer: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "ListObjectsV2")


def listing(*keys: str, error: Exception | None = None) -> Callable[..., dict[str, Any]]:
    """list_objects_v2 of a client whose bucket holds `keys`, or which fails with `error`."""

    def list_objects_v2(**asked: Any) -> dict[str, Any]:
        assert asked == {"Bucket": "mlflow", "Prefix": "1/models/m-1/artifacts", "MaxKeys": 1}
        if error:
            raise error
        return {"KeyCount": sum(key.startswith(asked["Prefix"]) for key in keys)}

    return list_objects_v2


@pytest.fixture
def entrypoint() -> ModuleType:
    return load_program("images/kserve-storage-initializer/entrypoint.py")


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (listing("1/models/m-1/artifacts/MLmodel"), None),
        (listing("1/models/m-2/artifacts/MLmodel"), "no such object: nothing is stored under this name"),
        (
            listing(error=refused("SignatureDoesNotMatch", 403, "The signature does not match.")),
            "SignatureDoesNotMatch (403): The signature does not match.",
        ),
        (
            listing(error=refused("NoSuchBucket", 404, "The bucket does not exist")),
            "NoSuchBucket (404): The bucket does not exist",
        ),
        (
            listing(error=EndpointConnectionError(endpoint_url="http://minio:9000")),
            'Could not connect to the endpoint URL: "http://minio:9000"',
        ),
    ],
)
def test_the_server_is_asked_for_the_reason(
    entrypoint: ModuleType, answers: Callable[..., dict[str, Any]], expected: str | None
) -> None:
    assert entrypoint.answer(PLACE, answers) == expected


def test_arguments_are_pairs(entrypoint: ModuleType) -> None:
    assert entrypoint.pairs(["s3://a", "/a", "s3://b", "/b"]) == [("s3://a", "/a"), ("s3://b", "/b")]
    for wrong in ([], ["s3://a"]):
        with pytest.raises(ValueError, match="expected pairs of a place and a folder"):
            entrypoint.pairs(wrong)


def test_the_reason_is_the_last_line_and_the_message_of_the_container(
    entrypoint: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(place: str, folder: str) -> None:
        raise RuntimeError(f"{place} at http://minio:9000: AccessDenied (403): Access Denied.")

    message = tmp_path / "termination-log"
    message.touch()
    monkeypatch.setattr(entrypoint, "MESSAGE", message)
    monkeypatch.setattr(entrypoint, "fetch", fail)
    monkeypatch.setattr(sys, "argv", ["entrypoint.py", PLACE, "/mnt/models"])
    with pytest.raises(SystemExit) as ended:
        entrypoint.main()
    reason = f"{PLACE} at http://minio:9000: AccessDenied (403): Access Denied."
    assert ended.value.code == f"cannot fetch the model: {reason}"
    assert message.read_text() == f"{reason}\n"


def test_fetching_names_the_place_the_endpoint_and_the_answer(
    entrypoint: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = ModuleType("kserve_storage")

    class Storage:
        @staticmethod
        def download(place: str, folder: str) -> str:
            raise RuntimeError("S3 error [403]:\n Forbidden")

        @staticmethod
        def _get_s3_client_kwargs() -> dict[str, Any]:
            return {}

    storage.Storage = Storage  # type: ignore[attr-defined]
    boto3 = ModuleType("boto3")
    client = SimpleNamespace(list_objects_v2=listing(error=refused("InvalidAccessKeyId", 403, "No such key.")))
    boto3.client = lambda service: client  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kserve_storage", storage)
    monkeypatch.setitem(sys.modules, "boto3", boto3)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://minio.mlops:9000")
    with pytest.raises(RuntimeError, match="^" + PLACE + " at http://minio.mlops:9000: InvalidAccessKeyId \\(403\\)"):
        entrypoint.fetch(PLACE, "/mnt/models")
    with pytest.raises(RuntimeError, match=r"^gs://bucket/model: S3 error \[403\]: Forbidden$"):
        entrypoint.fetch("gs://bucket/model", "/mnt/models")
