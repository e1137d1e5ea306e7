# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MinIO: buckets, and one user a consumer with a policy that names its own buckets and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils.checks.base import REQUEST_SECONDS, Access, Service
from ansible_collections.mlops.platform.plugins.module_utils.checks.s3 import PROBE_PREFIX
from ansible_collections.mlops.platform.plugins.module_utils.configure.base import Step
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from minio import Minio, MinioAdmin
from minio.commonconfig import ENABLED
from minio.credentials.providers import StaticProvider
from minio.error import S3Error
from minio.versioningconfig import OFF, SUSPENDED, VersioningConfig
from urllib3 import PoolManager

READ = ("s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:GetObject", "s3:GetObjectVersion")
WRITE = (
    "s3:AbortMultipartUpload",
    "s3:DeleteObject",
    "s3:DeleteObjectVersion",
    "s3:ListMultipartUploadParts",
    "s3:PutObject",
)
ADD = ("s3:AbortMultipartUpload", "s3:GetBucketLocation", "s3:ListMultipartUploadParts", "s3:PutObject")
REMOVE = ("s3:DeleteObject", "s3:DeleteObjectVersion")
ACCESS = {"read": READ, "write": ADD, "read-write": READ + WRITE}
METRICS = "metrics"
"""The access of who reads what the server counts, and nothing that it stores."""


def policy(buckets: Sequence[str], access: str) -> dict[str, Any]:
    """The policy of a consumer: `access` ("read", "write" or "read-write") to its buckets, or to metrics alone.

    Who may write alone adds objects, sees none, and takes away what a check has added (PROBE_PREFIX).
    """
    if access == METRICS:
        return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["admin:Prometheus"]}]}
    if access not in ACCESS:
        raise PlatformError(f"minio_consumers: access is {access!r}; allowed are {', '.join(ACCESS)}")
    resources = [f"arn:aws:s3:::{bucket}{suffix}" for bucket in sorted(buckets) for suffix in ("", "/*")]
    statement = {"Effect": "Allow", "Action": sorted(ACCESS[access]), "Resource": resources}
    probes = [f"arn:aws:s3:::{bucket}/{PROBE_PREFIX}*" for bucket in sorted(buckets)]
    cleaning = {"Effect": "Allow", "Action": list(REMOVE), "Resource": probes}
    return {"Version": "2012-10-17", "Statement": [statement, *([cleaning] if access == "write" else [])]}


def same_policy(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two policies allow the same: MinIO returns lists in an order of its own."""
    return bool(_sorted(one) == _sorted(other))


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _sorted(item) for key, item in value.items()}
    if isinstance(value, list):
        return sorted((_sorted(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    return value


@dataclass(frozen=True)
class MinioStep(Step):
    """`buckets` by name; `consumers` is a list of {name, buckets, access, credentials}.

    `credentials` names the consumer's Secret (keys access-key and secret-key), `root` that of the
    root user, which nobody else uses.
    """

    root: str
    buckets: tuple[str, ...] = ()
    consumers: tuple[Mapping[str, Any], ...] = ()
    versioning: bool = False

    def apply(self, access: Access, check_mode: bool) -> list[str]:
        s3, admin = administrator(access, self.service, self.root)
        host, port = access.address(self.service)
        endpoint = f"{host}:{port}"
        changes = self._buckets(s3, check_mode)
        users = json.loads(admin.user_list()) or {}
        policies = json.loads(admin.policy_list()) or {}
        for consumer in self.consumers:
            changes += self._consumer(access, endpoint, admin, users, policies, consumer, check_mode)
        return changes

    def _buckets(self, s3: Minio, check_mode: bool) -> list[str]:
        changes: list[str] = []
        present = {bucket.name for bucket in s3.list_buckets()}
        for name in self.buckets:
            if name not in present:
                changes.append(f"bucket {name} created")
                if check_mode:
                    continue
                s3.make_bucket(name)
            status = s3.get_bucket_versioning(name).status or OFF  # a bucket that never had it says nothing
            wanted = ENABLED if self.versioning else (OFF if status == OFF else SUSPENDED)
            if status != wanted:
                changes.append(f"versioning of {name} set to {wanted}")
                if not check_mode:
                    s3.set_bucket_versioning(name, VersioningConfig(wanted))
        return changes

    def _consumer(
        self,
        access: Access,
        endpoint: str,
        admin: MinioAdmin,
        users: Mapping[str, Any],
        policies: Mapping[str, Any],
        consumer: Mapping[str, Any],
        check_mode: bool,
    ) -> list[str]:
        """The policy and the user of one consumer."""
        name = str(consumer["name"])
        access_key, secret_key = access.secret(consumer["credentials"], "access-key", "secret-key")
        wanted = policy(consumer["buckets"], consumer.get("access", "read-write"))
        changes: list[str] = []
        if name not in policies or not same_policy(policies[name], wanted):
            changes.append(f"policy {name} set")
            if not check_mode:
                admin.policy_add(name, policy=wanted)
        user = users.get(access_key, {})
        if user.get("status") != "enabled" or not _accepted(endpoint, access_key, secret_key):
            changes.append(f"user {access_key} set")
            if not check_mode:
                admin.user_add(access_key, secret_key)
        if user.get("policyName") != name:
            changes.append(f"policy {name} attached to {access_key}")
            if not check_mode:
                admin.policy_set(name, user=access_key)
        return changes


def administrator(access: Access, service: Service, root: str) -> tuple[Minio, MinioAdmin]:
    """The clients of the root user, whose Secret is `root`: for buckets, and for users and policies."""
    host, port = access.address(service)
    endpoint = f"{host}:{port}"
    login = access.secret(root, "access-key", "secret-key")
    admin = MinioAdmin(endpoint=endpoint, credentials=StaticProvider(*login), secure=False, http_client=_impatient())
    return _client(endpoint, *login), admin


def _client(endpoint: str, access_key: str, secret_key: str) -> Minio:
    return Minio(
        endpoint,
        access_key=access_key,
        secret_key=secret_key,
        secure=False,
        region="us-east-1",
        http_client=_impatient(),
    )


def _impatient() -> PoolManager:
    """Connections that give up soon: the client's own wait five minutes, five times."""
    return PoolManager(timeout=REQUEST_SECONDS, retries=1)


def _accepted(endpoint: str, access_key: str, secret_key: str) -> bool:
    """Whether the user's key is the one in its Secret: a wrong one has a signature that does not match."""
    try:
        _client(endpoint, access_key, secret_key).list_buckets()
    except S3Error as error:
        return error.code not in ("SignatureDoesNotMatch", "InvalidAccessKeyId")
    return True
