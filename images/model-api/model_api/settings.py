"""What the service is told by its environment."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

PREFIX = "MODEL_API_"


class SettingsError(Exception):
    """A variable of the environment that is missing or wrong: its name, its value, what is allowed."""


@dataclass(frozen=True)
class Settings:
    """Each field is the variable MODEL_API_<FIELD>; those without a default are required.

    `model_uri` is what MLflow's clients take (models:/iris@champion, models:/iris/3, s3://bucket/path...), or is made
    of MODEL_API_MODEL_NAME and MODEL_API_MODEL_ALIAS. Where the tracking server is, and the login, say MLflow's own
    variables MLFLOW_TRACKING_URI, _USERNAME and _PASSWORD. `authorities` is a PEM file of certificates to trust
    besides the public ones; `threads` is how many requests are predicted at a time,
    `max_waiting` how many may wait for that; more are refused at once, so that a pod that cannot keep up stays ready.
    """

    model_uri: str
    port: int = 8080
    poll_seconds: float = 10.0
    max_rows: int = 1000
    max_body_bytes: int = 1 << 20
    threads: int = 2
    max_waiting: int = 200
    shutdown_seconds: int = 20
    authorities: str = ""

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        """The settings of an environment. Raises SettingsError."""
        uri, name = (environment.get(f"{PREFIX}{key}", "") for key in ("MODEL_URI", "MODEL_NAME"))
        alias = environment.get(f"{PREFIX}MODEL_ALIAS", "champion")
        if bool(uri) == bool(name):
            raise SettingsError(f"one of {PREFIX}MODEL_URI and {PREFIX}MODEL_NAME is needed, and not both")
        return cls(
            model_uri=uri or f"models:/{name}@{alias}",
            port=_whole(environment, "PORT", cls.port, 65535),
            poll_seconds=_whole(environment, "POLL_SECONDS", int(cls.poll_seconds), 86400),
            max_rows=_whole(environment, "MAX_ROWS", cls.max_rows, 1_000_000),
            max_body_bytes=_whole(environment, "MAX_BODY_BYTES", cls.max_body_bytes, 1 << 30),
            threads=_whole(environment, "THREADS", cls.threads, 64),
            max_waiting=_whole(environment, "MAX_WAITING", cls.max_waiting, 100_000),
            shutdown_seconds=_whole(environment, "SHUTDOWN_SECONDS", cls.shutdown_seconds, 3600),
            authorities=environment.get(f"{PREFIX}AUTHORITIES", ""),
        )


def _whole(environment: Mapping[str, str], key: str, default: int, largest: int) -> int:
    text = environment.get(f"{PREFIX}{key}", "") or str(default)
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= largest:
        raise SettingsError(f"{PREFIX}{key} is {text!r}; allowed are whole numbers from 1 to {largest}")
    return int(text)


def prepare(environment: MutableMapping[str, str], authorities: str, folder: Path) -> None:
    """Set what MLflow's client reads of the environment, where nobody has: a server that is silent is asked again soon.

    `authorities` is a PEM file of certificates that count besides the public ones; both are written to `folder`.
    """
    environment.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    environment.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    environment.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # Else it lists what a model was logged with besides what it needs.
    environment.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    if authorities:
        import certifi

        joined = folder / "authorities.pem"
        joined.write_bytes(Path(certifi.where()).read_bytes() + b"\n" + Path(authorities).read_bytes())
        for variable in ("REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE", "SSL_CERT_FILE"):
            environment[variable] = str(joined)
