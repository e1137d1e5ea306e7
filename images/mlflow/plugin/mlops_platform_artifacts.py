"""Artifacts in S3 that clients reach through the server alone.

Where its artifacts are in S3, MLflow's server hands out presigned URLs for downloads and offers no switch against it:
a client outside the cluster would be sent to the storage's name inside it and try for minutes. Destinations with the
scheme `s3-proxied` are S3 without that.
"""

from __future__ import annotations

from typing import Any

from mlflow.entities import FileInfo
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository


class ProxiedS3ArtifactRepository(ArtifactRepository):
    """What S3ArtifactRepository does, but without uploads and downloads around the server."""

    def __init__(self, artifact_uri: str, *arguments: Any, **options: Any) -> None:
        super().__init__(artifact_uri, *arguments, **options)
        s3_uri = artifact_uri.replace("s3-proxied:", "s3:", 1)
        self._s3: Any = S3ArtifactRepository(s3_uri, *arguments, **options)  # its methods have no types

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        """Store one file."""
        self._s3.log_artifact(local_file, artifact_path)

    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
        """Store the files of a folder."""
        self._s3.log_artifacts(local_dir, artifact_path)

    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        """What is stored under a path."""
        found: list[FileInfo] = self._s3.list_artifacts(path)
        return found

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        self._s3._download_file(remote_file_path, local_path)

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        """Delete what is stored under a path."""
        self._s3.delete_artifacts(artifact_path)
