"""Write the dashboards of all roles: `python -m tools.dashboards`."""

from __future__ import annotations

from pathlib import Path

from tools.dashboards import components, platform

ROLES = Path(__file__).resolve().parents[2] / "roles"
BOARDS = (
    platform.overview,
    platform.monitoring,
    platform.models,
    components.minio,
    components.postgresql,
    components.mlflow,
    components.gateway,
    components.cert_manager,
    components.knative,
    components.kserve,
    components.model_api,
    components.drift,
    components.gpu_node,
)


def files() -> dict[Path, str]:
    """What each file of a dashboard must hold."""
    return {ROLES / board.file: board.json() for board in (made() for made in BOARDS)}


def main() -> None:
    """Write those that differ."""
    for path, text in files().items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(path.relative_to(ROLES.parent))


if __name__ == "__main__":
    main()
