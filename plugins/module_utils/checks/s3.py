# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Object storage: what a consumer may do, and what it must not."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import (
    REQUEST_SECONDS,
    Access,
    Check,
    Endpoint,
    expect,
)
from botocore.config import Config
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

PROBE_BYTES = 4096
PROBE_PREFIX = ".mlops-platform-validation/"
LISTED = 100
"""Keys to ask for when one is to be read: more than validations that run at once have objects there."""
REGION = "us-east-1"
"""What MinIO signs for where it is told nothing else."""
UNKNOWN = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "Forbidden", "403")
"""How services of the S3 kind refuse a login that is not theirs."""


def client(access: Access, service: Endpoint, credentials: str, region: str) -> S3Client:
    """An S3 client that logs in with the Secret `credentials` (keys access-key and secret-key)."""
    return connect(access, service, region, *access.secret(credentials, "access-key", "secret-key"))


def connect(access: Access, service: Endpoint, region: str, access_key: str, secret_key: str) -> S3Client:
    """An S3 client with a key."""
    made: S3Client = boto3.client(
        "s3",
        endpoint_url=access.url(service),
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name=region,
        verify=access.ca_file or None,
        config=Config(
            connect_timeout=REQUEST_SECONDS,
            read_timeout=REQUEST_SECONDS,
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path"},
        ),
    )
    return made


@dataclass(frozen=True)
class S3AccessCheck(Check):
    """A consumer with access "read-write" puts an object in each of its buckets, gets it back and deletes it.

    One with access "read" lists each of them, reads a byte of the first object, and is refused when it writes; one with
    access "write" puts an object, and is refused when it reads. Objects are made below `prefix`, which is "" or ends
    with a slash.
    """

    buckets: tuple[str, ...]
    credentials: str
    access: str = "read-write"
    region: str = REGION
    prefix: str = ""

    @property
    def target(self) -> str:
        return f"s3://{{{','.join(self.buckets)}}}"

    def run(self, access: Access) -> tuple[object, object]:
        s3 = client(access, self.service, self.credentials, self.region)
        proof, seen = ACCESSES[self.access]
        for bucket in self.buckets:
            proof(s3, bucket, self.prefix)
        return f"{len(self.buckets)} buckets: {seen}", f"{len(self.buckets)} buckets: {seen}"


def read_only(s3: S3Client, bucket: str, prefix: str = "") -> None:
    """List a bucket, read the first byte of an object if there is one, and see that writing is refused.

    Objects that somebody deletes between the two, as other validations do with theirs, are passed over.
    """
    for item in s3.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=LISTED).get("Contents", []):
        with contextlib.suppress(s3.exceptions.NoSuchKey):
            s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read(1)
            break
    answer = _refusal(s3, bucket, prefix)
    expect(answer, "AccessDenied", f"{bucket}: a key that is to read alone may write: {answer}")


def round_trip(s3: S3Client, bucket: str, prefix: str = "") -> None:
    """Put random bytes, get them back, compare, delete them (their version too), and see that they are gone."""
    content = secrets.token_bytes(PROBE_BYTES)
    key = prefix + PROBE_PREFIX + secrets.token_hex(8)
    version = s3.put_object(Bucket=bucket, Key=key, Body=content).get("VersionId")
    try:
        stored = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        expect(stored == content, True, f"{bucket}: the {len(stored)} bytes read back are not those written")
    finally:
        _delete(s3, bucket, key, version)
    left = s3.list_objects_v2(Bucket=bucket, Prefix=key).get("KeyCount", 0)
    expect(left, 0, f"{bucket}: the object is still there after its deletion")


def write_only(s3: S3Client, bucket: str, prefix: str = "") -> None:
    """Put an object, and see that neither it nor the list of the bucket can be read."""
    key = prefix + PROBE_PREFIX + secrets.token_hex(8)
    version = s3.put_object(Bucket=bucket, Key=key, Body=secrets.token_bytes(PROBE_BYTES)).get("VersionId")
    try:
        for what, read in (
            ("objects", lambda: s3.get_object(Bucket=bucket, Key=key)),
            ("its list", lambda: s3.list_objects_v2(Bucket=bucket, MaxKeys=1)),
        ):
            answer = _answer(read)
            expect(answer, "AccessDenied", f"{bucket}: a key that is to write alone may read {what}: {answer}")
    finally:
        _delete(s3, bucket, key, version)


def _answer(asked: Callable[[], object]) -> str:
    """The error code of a request, or "done"."""
    try:
        asked()
    except ClientError as error:
        return error.response.get("Error", {}).get("Code", "no code")
    return "done"


ACCESSES = {
    "read": (read_only, "read, writing refused"),
    "write": (write_only, f"{PROBE_BYTES} bytes written, reading refused"),
    "read-write": (round_trip, f"{PROBE_BYTES} bytes read back and deleted"),
}
"""What proves each kind of access, and what is seen then."""


def _delete(s3: S3Client, bucket: str, key: str, version: str | None) -> None:
    """Delete an object, and the marker that a bucket with suspended versioning puts in its place."""
    if version:
        s3.delete_object(Bucket=bucket, Key=key, VersionId=version)
        return
    answer = s3.delete_object(Bucket=bucket, Key=key)
    if answer.get("DeleteMarker"):
        s3.delete_object(Bucket=bucket, Key=key, VersionId=answer.get("VersionId", "null"))


@dataclass(frozen=True)
class S3DeniedCheck(Check):
    """A consumer is refused in all `buckets` that are not its `own`."""

    buckets: tuple[str, ...]
    own: tuple[str, ...]
    credentials: str

    @property
    def target(self) -> str:
        return f"s3://{{{','.join(self._foreign())}}}"

    def _foreign(self) -> list[str]:
        return [bucket for bucket in self.buckets if bucket not in self.own]

    def run(self, access: Access) -> tuple[object, object]:
        s3 = client(access, self.service, self.credentials, REGION)
        foreign = self._foreign()
        observed = {bucket: _refusal(s3, bucket) for bucket in foreign}
        expected = dict.fromkeys(foreign, "AccessDenied")
        allowed = ", ".join(f"{bucket}: {answer}" for bucket, answer in observed.items() if answer != "AccessDenied")
        expect(observed, expected, f"not refused: {allowed}")
        return observed, expected


def _refusal(s3: S3Client, bucket: str, prefix: str = "") -> str:
    """The error code of writing to a bucket, or "written"."""
    key = prefix + PROBE_PREFIX + "denied-" + secrets.token_hex(4)
    try:
        version = s3.put_object(Bucket=bucket, Key=key, Body=b"").get("VersionId")
    except ClientError as error:
        return error.response.get("Error", {}).get("Code", "no code")
    with contextlib.suppress(ClientError):  # who may write need not be allowed to delete
        _delete(s3, bucket, key, version)
    return "written"


@dataclass(frozen=True)
class S3RefusedCheck(Check):
    """The right access key with a wrong secret key is refused, and so is an access key that nobody has."""

    buckets: tuple[str, ...]
    credentials: str
    region: str = REGION

    @property
    def target(self) -> str:
        return f"s3://{{{','.join(self.buckets)}}}"

    def run(self, access: Access) -> tuple[object, object]:
        (access_key,) = access.secret(self.credentials, "access-key")
        wrong = secrets.token_hex(20)
        observed: dict[str, str] = {}
        for name, key in (("wrong secret key", access_key), ("unknown access key", secrets.token_hex(10).upper())):
            s3 = connect(access, self.service, self.region, key, wrong)
            try:
                s3.list_objects_v2(Bucket=self.buckets[0], MaxKeys=1)
                observed[name] = "let in"
            except ClientError as error:
                code = error.response.get("Error", {}).get("Code", "no code")
                observed[name] = "refused" if code in UNKNOWN else code
        expected = dict.fromkeys(observed, "refused")
        expect(observed, expected, f"a key that must be refused was not: {observed}")
        return observed, expected
