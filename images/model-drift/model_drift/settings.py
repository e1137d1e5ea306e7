"""What the program is told by its environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

PREFIX = "MODEL_DRIFT_"


class SettingsError(Exception):
    """A variable of the environment that is missing or wrong: its name, its value, what is allowed."""


@dataclass(frozen=True)
class Settings:
    """Each field is the variable MODEL_DRIFT_<FIELD>; those without a default are required.

    `inputs_uri` (s3://bucket) is where models log their rows, `reports_uri` where reports go; the login reads and
    writes both. The other login reads the references. Compared are the rows of the last `window_hours`, if there are
    `minimum_rows`, `maximum_rows` of them at most. A model has drifted when `share` of its features have. Rows are kept
    for `keep_days`, of each version so many reports as `keep_reports`.
    """

    inputs_uri: str
    reports_uri: str
    access_key: str
    secret_key: str
    reference_access_key: str
    reference_secret_key: str
    endpoint_url: str
    region: str = "us-east-1"
    authorities: str = ""
    window_hours: int = 24
    minimum_rows: int = 100
    maximum_rows: int = 10_000
    share: float = 0.5
    keep_days: int = 30
    keep_reports: int = 24
    only: str = ""
    port: int = 9100

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        """The settings of an environment. Raises SettingsError."""
        given = {item.name: environment.get(PREFIX + item.name.upper(), "") for item in fields(cls)}
        missing = [PREFIX + item.name.upper() for item in fields(cls)[:7] if not given[item.name]]
        if missing:
            raise SettingsError(f"{', '.join(missing)}: not set")
        kinds = {item.name: float if item.name == "share" else int
                 for item in fields(cls) if isinstance(item.default, (int, float))}  # fmt: skip
        found: dict[str, str | int | float] = {key: value for key, value in given.items() if value}
        for name, kind in kinds.items():
            try:
                value = kind(given[name]) if given[name] else kind(getattr(cls, name))
            except ValueError:
                value = kind(0)
            if value <= 0:
                raise SettingsError(f"{PREFIX}{name.upper()} is {given[name]!r}; allowed are numbers above 0")
            found[name] = value
        return cls(**found)  # type: ignore[arg-type]  # (each has the type of its default)
