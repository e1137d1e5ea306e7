# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The drift of models: of rows that a check logs, the column that was shifted is reported, and the other is not."""

from __future__ import annotations

import io
import json
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import requests
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import (
    LEFT_SECONDS,
    PROBE_LABEL,
    REQUEST_SECONDS,
    Access,
    Check,
    CheckFailed,
    Endpoint,
    abandoned,
    expect,
    parse_endpoint,
)
from ansible_collections.mlops.platform.plugins.module_utils.checks.s3 import REGION, client
from ansible_collections.mlops.platform.plugins.module_utils.cluster import Object
from ansible_collections.mlops.platform.plugins.module_utils.rollout import conditions
from ansible_collections.mlops.platform.plugins.module_utils.waiting import Waker

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

TRIAL = ".trial-"
"""What the models of checks are called: the program says nothing of a name that begins with a point."""
SHIFT = 1.0
"""As much as all values of the reference span: no two rows of the shifted column overlap."""
OLDEST_SECONDS = 600
"""The exporter looks at the reports every minute."""
READ = re.compile(r"^model_drift_read_timestamp_seconds (\S+)$", re.MULTILINE)
EXPECTED = {"status": "compared", "moved": True, "steady": False, "report.html": True}


@dataclass(frozen=True)
class DriftCheck(Check):
    """A Job of the CronJob compares rows of the check's own, and the exporter, its `service`, reads the reports.

    `s3` is where rows and reports are: {name, port, namespace}, or {url, variable, ...}; `credentials` is the Secret of
    who reads and writes the places `inputs` and `reports` (S3 URIs). So many `rows` are logged.
    """

    cron_job: str
    s3: Mapping[str, Any]
    credentials: str
    inputs: str
    reports: str
    region: str = REGION
    rows: int = field(default=200)

    @property
    def target(self) -> str:
        return f"CronJob {self.cron_job}, {self.service}"

    def run(self, access: Access) -> tuple[object, object]:
        self._exporter_reads(access)
        storage = client(access, self._storage(), self.credentials, self.region)
        self._remove(access, storage, left=True)
        model = f"{TRIAL}{secrets.token_hex(4)}"
        try:
            self._log(storage, model)
            seconds = self._compare(access, model)
            observed = self._report(storage, model)
        finally:
            self._remove(access, storage, model)
        expect(observed, EXPECTED, f"the comparison of shifted rows with a reference says {observed}")
        return {**observed, "seconds": round(seconds, 1)}, EXPECTED

    def _storage(self) -> Endpoint:
        return parse_endpoint(self.s3, self.name)

    def _exporter_reads(self, access: Access) -> None:
        """See that the exporter has read the reports of late."""
        answer = requests.get(f"{access.url(self.service)}/metrics", timeout=REQUEST_SECONDS)
        expect(answer.status_code, 200, f"/metrics answered {answer.status_code}")
        found = READ.search(answer.text)
        age = time.time() - float(found[1]) if found else time.time()
        said = "has never read the reports" if age > LEFT_SECONDS**2 else f"has not read the reports for {age:.0f} s"
        expect(age < OLDEST_SECONDS, True, f"the exporter {said}: its log says why")

    def _log(self, storage: S3Client, model: str) -> None:
        """Log rows as a model would, and put their reference beside them."""
        import pandas as pd

        ramp = [number / self.rows for number in range(self.rows)]
        reference = {"columns": ["moved", "steady"], "data": [[value, value] for value in ramp]}
        table = pd.DataFrame({"moved": [value + SHIFT for value in ramp], "steady": ramp, "_prediction": 0})
        parquet = io.BytesIO()
        table.to_parquet(parquet)
        now = datetime.now(UTC)
        bucket, folder = _place(self.inputs, model)
        about = {
            "model": model, "version": "1", "reference": f"s3://{bucket}/{folder}reference.json",
            "started": now.isoformat(timespec="seconds"),
        }  # fmt: skip
        for name, content in (
            ("reference.json", json.dumps(reference).encode()),
            (f"1/{now:%Y-%m-%d}/1.parquet", parquet.getvalue()),
            ("1/model.json", json.dumps(about).encode()),
        ):
            storage.put_object(Bucket=bucket, Key=folder + name, Body=content)

    def _compare(self, access: Access, model: str) -> float:
        """Let a Job of the CronJob's own compare this model alone; returns its seconds. Raises CheckFailed."""
        cluster, space = access.cluster, access.namespace
        made = cluster.get("batch/v1", "CronJob", self.cron_job, space)
        if made is None:
            raise CheckFailed(f"CronJob {space}/{self.cron_job} does not exist", "none", "a CronJob")
        if made["spec"].get("suspend"):
            raise CheckFailed(f"CronJob {space}/{self.cron_job} is suspended", "suspended", "scheduled")
        job = _job(made, f"drift-probe-{secrets.token_hex(3)}", model)
        name = job["metadata"]["name"]
        started = time.monotonic()
        try:
            cluster.apply(job)
            with Waker(cluster, {cluster.resource("batch/v1", "Job").path(space)}, PROBE_LABEL) as waker:
                while (ended := _ended(cluster.get("batch/v1", "Job", name, space))) is None:
                    if time.monotonic() + 1 > access.deadline:
                        raise CheckFailed(f"Job {name} has not ended", "running", "complete")
                    waker.wait(5.0)
            if ended:
                raise CheckFailed(f"Job {name} failed: {self._words(access, name) or ended}", "failed", "complete")
        finally:
            cluster.delete("batch/v1", "Job", name, space)
        return time.monotonic() - started

    @staticmethod
    def _words(access: Access, job: str) -> str:
        """The last thing that a Job's pod said."""
        pods = access.cluster.list("v1", "Pod", access.namespace, f"batch.kubernetes.io/job-name={job}")
        for pod in pods:
            if lines := access.cluster.last_lines(pod, "compare"):
                return str(lines[-1])
        return ""

    def _report(self, storage: S3Client, model: str) -> dict[str, object]:
        """What the report of the model says."""
        bucket, folder = _place(self.reports, model)
        keys = [item["Key"] for item in storage.list_objects_v2(Bucket=bucket, Prefix=folder).get("Contents", [])]
        latest = f"{folder}1/latest.json"
        if latest not in keys:
            raise CheckFailed(f"the Job has written no report to s3://{bucket}/{folder}", keys, latest)
        summary = json.loads(storage.get_object(Bucket=bucket, Key=latest)["Body"].read())
        if summary["status"] != "compared":
            raise CheckFailed(f"{summary['status']}: {summary['reason']}", summary["status"], "compared")
        drifted = {name: item["drifted"] for name, item in summary["features"].items()}
        whole = f"{folder}1/{summary['report']}/report.html" in keys
        return {"status": summary["status"], **drifted, "report.html": whole}

    def _remove(self, access: Access, storage: S3Client, model: str = TRIAL, *, left: bool = False) -> None:
        """Remove a model of a check, or (`left`) what checks left that were killed."""
        before = datetime.now(UTC) - timedelta(seconds=LEFT_SECONDS)
        for uri in (self.inputs, self.reports):
            bucket, prefix = _place(uri, model)
            prefix = prefix.rstrip("/") if left else prefix
            for item in storage.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", []):
                if not left or item["LastModified"] < before:
                    storage.delete_object(Bucket=bucket, Key=item["Key"])
        if left:
            for job in access.cluster.list("batch/v1", "Job", access.namespace, PROBE_LABEL):
                if abandoned(job):
                    access.cluster.delete("batch/v1", "Job", job["metadata"]["name"], access.namespace)


def _place(uri: str, model: str) -> tuple[str, str]:
    """The bucket of a model's folder below an S3 URI, and the folder, which ends in a slash."""
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    return bucket, f"{prefix.rstrip('/')}/{model}/".lstrip("/")


def _job(cron_job: Object, name: str, model: str) -> Object:
    """A Job as the CronJob makes them, which compares one model, whose reference lies where the log is."""
    spec = json.loads(json.dumps(cron_job["spec"]["jobTemplate"]["spec"]))
    (container,) = spec["template"]["spec"]["containers"]
    given = {item["name"]: item for item in container["env"]}
    instead = {f"MODEL_DRIFT_REFERENCE_{key}": given[f"MODEL_DRIFT_{key}"] for key in ("ACCESS_KEY", "SECRET_KEY")}
    given |= {key: {**item, "name": key} for key, item in instead.items()}
    given["MODEL_DRIFT_ONLY"] = {"name": "MODEL_DRIFT_ONLY", "value": model}
    container["env"] = list(given.values())
    spec["backoffLimit"] = 0
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name, "namespace": cron_job["metadata"]["namespace"], "labels": {PROBE_LABEL: "drift"},
        },
        "spec": spec,
    }  # fmt: skip


def _ended(job: Object | None) -> str | None:
    """Why a Job failed; "" where it is complete, None where it has not ended."""
    if job is None:
        return "it is gone"
    found = conditions(job)
    if found.get("Failed", {}).get("status") == "True":
        return str(found["Failed"].get("message") or found["Failed"].get("reason") or "it failed")
    return "" if found.get("Complete", {}).get("status") == "True" else None
