"""Object storage: what a consumer may do, and what it must not."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import (
    REQUEST_SECONDS,
    Access,
    Check,
    CheckFailed,
    Service,
    expect,
)
from botocore.config import Config
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

PROBE_BYTES = 4096
PROBE_PREFIX = ".mlops-platform-validation/"


def client(access: Access, service: Service, credentials: str) -> S3Client:
    """An S3 client that logs in with the Secret `credentials` (keys access-key and secret-key)."""
    access_key, secret_key = access.secret(credentials, "access-key", "secret-key")
    made: S3Client = boto3.client(
        "s3",
        endpoint_url=access.url(service),
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name="us-east-1",
        config=Config(
            connect_timeout=REQUEST_SECONDS,
            read_timeout=REQUEST_SECONDS,
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path"},
        ),
    )
    return made


@dataclass(frozen=True)
class S3RoundTripCheck(Check):
    """Put an object as the consumer, get it back, compare the bytes, delete it, and see that it is gone."""

    bucket: str
    credentials: str

    @property
    def target(self) -> str:
        return f"s3://{self.bucket}"

    def run(self, access: Access) -> tuple[object, object]:
        s3 = client(access, self.service, self.credentials)
        content = secrets.token_bytes(PROBE_BYTES)
        key = PROBE_PREFIX + secrets.token_hex(8)
        version = s3.put_object(Bucket=self.bucket, Key=key, Body=content).get("VersionId")
        try:
            stored = s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
            expect(stored == content, True, f"the {len(stored)} bytes read back are not the {PROBE_BYTES} bytes written")
        finally:
            if version:
                s3.delete_object(Bucket=self.bucket, Key=key, VersionId=version)
            else:
                s3.delete_object(Bucket=self.bucket, Key=key)
        left = s3.list_objects_v2(Bucket=self.bucket, Prefix=key).get("KeyCount", 0)
        expect(left, 0, "the object is still there after its deletion")
        return f"{len(stored)} bytes, deleted", f"{PROBE_BYTES} bytes, deleted"


@dataclass(frozen=True)
class S3DeniedCheck(Check):
    """The consumer is refused in a bucket that exists and is not its own."""

    bucket: str
    credentials: str

    @property
    def target(self) -> str:
        return f"s3://{self.bucket}"

    def run(self, access: Access) -> tuple[object, object]:
        s3 = client(access, self.service, self.credentials)
        try:
            s3.put_object(Bucket=self.bucket, Key=PROBE_PREFIX + "denied", Body=b"")
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            expect(code, "AccessDenied", f"writing to {self.bucket} failed with {code} instead of a refusal")
            return code, "AccessDenied"
        s3.delete_object(Bucket=self.bucket, Key=PROBE_PREFIX + "denied")
        raise CheckFailed(f"the consumer may write to {self.bucket}", "written", "AccessDenied")
