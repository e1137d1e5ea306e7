"""What lies in S3: the log of inputs, the references, the reports."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from pyarrow import fs

from model_drift.settings import Settings

ABOUT = "model.json"
LATEST = "latest.json"
CONNECT_SECONDS, REQUEST_SECONDS = 5.0, 60.0


def connect(settings: Settings, access_key: str, secret_key: str) -> Any:
    """A file system of all buckets that a login may use."""
    parts = urlsplit(settings.endpoint_url)
    return fs.S3FileSystem(
        access_key=access_key, secret_key=secret_key, region=settings.region, scheme=parts.scheme,
        endpoint_override=parts.netloc, tls_ca_file_path=settings.authorities or None, connect_timeout=CONNECT_SECONDS,
        request_timeout=REQUEST_SECONDS, check_directory_existence_before_creation=False, allow_delayed_open=True,
    )  # fmt: skip


def place(uri: str) -> str:
    """s3://bucket/key as file systems name it."""
    return uri.removeprefix("s3://").strip("/")


@dataclass(frozen=True)
class Logged:
    """A version of a model that logs its inputs: what it says of itself, and the folder of its rows."""

    model: str
    version: str
    reference: str
    started: str
    folder: str


class Storage:
    """The buckets, with the logins for them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._own = connect(settings, settings.access_key, settings.secret_key)
        self._inputs, self._reports = place(settings.inputs_uri), place(settings.reports_uri)

    def versions(self) -> list[Logged]:
        """All versions that have ever said that they log, the newest of a model first."""
        found = [self._logged(item.path) for item in self._files(self._inputs) if item.base_name == ABOUT]
        only = self._settings.only
        # What begins with a point is a trial, of which nothing is said unless it is asked for.
        kept = [item for item in found if (item.model == only if only else not item.model.startswith("."))]
        return sorted(kept, key=lambda item: (item.model, item.started), reverse=True)

    def _logged(self, path: str) -> Logged:
        about = json.loads(self._read(self._own, path))
        return Logged(
            about["model"], about["version"], about["reference"], about["started"], path.rpartition("/")[0]
        )  # fmt: skip

    def rows(self, logged: Logged) -> Any:
        """The rows of the window, the newest last; an empty table where there are none."""
        import pandas as pd
        import pyarrow.parquet as pq

        since = datetime.now(UTC) - timedelta(hours=self._settings.window_hours)
        files = [item for item in self._files(logged.folder) if item.extension == "parquet" and item.mtime >= since]
        tables: list[Any] = []
        wanted = self._settings.maximum_rows
        for item in sorted(files, key=lambda item: item.mtime, reverse=True):
            if wanted <= 0:
                break
            tables.insert(0, pq.read_table(item.path, filesystem=self._own).to_pandas())
            wanted -= len(tables[0])
        return pd.concat(tables, ignore_index=True).tail(self._settings.maximum_rows) if tables else pd.DataFrame()

    def reference(self, uri: str) -> Any:
        """The training reference: Parquet, or JSON as MLflow's log_table and pandas write it."""
        import io

        import pandas as pd

        settings = self._settings
        files = connect(settings, settings.reference_access_key, settings.reference_secret_key)
        content = self._read(files, place(uri))
        if uri.endswith(".parquet"):
            table = pd.read_parquet(io.BytesIO(content))
        else:
            found = json.loads(content)
            found = found.get("rows", found) if isinstance(found, dict) else found
            table = pd.DataFrame(found["data"], columns=found["columns"]) if "data" in found else pd.DataFrame(found)
        most = settings.maximum_rows
        return table.sample(most, random_state=7) if len(table) > most else table

    def publish(self, logged: Logged, summary: dict[str, Any], report: dict[str, str]) -> None:
        """Keep the report's files and what it comes to; the latter last, so that it never leads to nothing."""
        folder = f"{self._reports}/{logged.model}/{logged.version or 'none'}"
        for name, content in report.items():
            self._write(f"{folder}/{summary['report']}/{name}", content)
        self._write(f"{folder}/{LATEST}", json.dumps(summary))
        kept = sorted({item.path.split("/")[-2] for item in self._files(folder) if item.base_name != LATEST})
        for name in kept[: -self._settings.keep_reports]:
            self._own.delete_dir(f"{folder}/{name}")

    def forget(self, logged: Logged) -> None:
        """Say nothing of a version any more."""
        path = f"{self._reports}/{logged.model}/{logged.version or 'none'}/{LATEST}"
        if self._own.get_file_info(path).type == fs.FileType.File:
            self._own.delete_file(path)

    def clean(self) -> int:
        """Remove rows that have been kept long enough; returns the number of files."""
        before = datetime.now(UTC) - timedelta(days=self._settings.keep_days)
        old = [item.path for item in self._files(self._inputs) if item.mtime < before and item.base_name != ABOUT]
        for path in old:
            self._own.delete_file(path)
        return len(old)

    def latest(self) -> Iterator[dict[str, Any]]:
        """What the newest report of each version comes to; trials are left out."""
        for item in self._files(self._reports):
            if item.base_name == LATEST and not item.path.startswith(f"{self._reports}/."):
                yield json.loads(self._read(self._own, item.path))

    def _files(self, folder: str) -> list[Any]:
        found = self._own.get_file_info(fs.FileSelector(folder, recursive=True, allow_not_found=True))
        return [item for item in found if item.type == fs.FileType.File]

    @staticmethod
    def _read(files: Any, path: str) -> bytes:
        with files.open_input_stream(path) as stream:
            content: bytes = stream.read()
        return content

    def _write(self, path: str, content: str) -> None:
        with self._own.open_output_stream(path) as stream:
            stream.write(content.encode())
