"""What a consumer of object storage may do."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.configure.minio import policy, same_policy
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError

WRITING = {"s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion", "s3:AbortMultipartUpload"}


def statement(access: str, *buckets: str) -> dict[str, Any]:
    """The one statement of a policy."""
    made = policy(buckets, access)
    assert made["Version"] == "2012-10-17"
    (found,) = made["Statement"]
    return dict(found)


def test_a_policy_names_its_buckets_and_nothing_else() -> None:
    made = statement("read-write", "models", "datasets")
    assert made["Effect"] == "Allow"
    assert made["Resource"] == [
        "arn:aws:s3:::datasets", "arn:aws:s3:::datasets/*", "arn:aws:s3:::models", "arn:aws:s3:::models/*",
    ]  # fmt: skip


@pytest.mark.parametrize(("access", "writes"), [("read", False), ("read-write", True)])
def test_reading_is_not_writing(access: str, writes: bool) -> None:
    actions = set(statement(access, "models")["Action"])
    assert actions >= {"s3:GetObject", "s3:ListBucket"}
    assert (actions & WRITING == WRITING) is writes
    assert writes or not actions & WRITING
    assert not any("*" in action or "Admin" in action for action in actions)


def test_who_reads_metrics_reads_nothing_that_is_stored() -> None:
    assert statement("metrics") == {"Effect": "Allow", "Action": ["admin:Prometheus"]}


def test_who_may_write_alone_sees_nothing() -> None:
    adding, cleaning = policy(["inputs"], "write")["Statement"]
    assert set(adding["Action"]) & WRITING == {"s3:PutObject", "s3:AbortMultipartUpload"}
    assert not {"s3:GetObject", "s3:ListBucket"} & {*adding["Action"], *cleaning["Action"]}
    assert cleaning["Resource"] == ["arn:aws:s3:::inputs/.mlops-platform-validation/*"]


def test_another_kind_of_access_is_refused() -> None:
    with pytest.raises(PlatformError, match="minio_consumers: access is 'all'; allowed are read, write, read-write"):
        policy(["models"], "all")


def test_policies_are_compared_whatever_their_order() -> None:
    one = policy(["a", "b"], "read")
    other = {
        "Statement": [
            {key: value[::-1] if isinstance(value, list) else value for key, value in one["Statement"][0].items()}
        ],
        "Version": one["Version"],
    }
    assert same_policy(one, other)


@pytest.mark.parametrize("other", [policy(["a"], "read"), policy(["a", "b"], "read-write"), {}])
def test_policies_that_differ(other: dict[str, Any]) -> None:
    assert not same_policy(policy(["a", "b"], "read"), other)
