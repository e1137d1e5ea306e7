"""`python3 -m model_drift compare` makes the reports, `python3 -m model_drift serve` tells Prometheus of them."""

from __future__ import annotations

import logging
import os
import sys

from model_drift.settings import Settings, SettingsError


def main(arguments: list[str]) -> int:
    """Do what the one argument says."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    if arguments not in (["compare"], ["serve"]):
        print("usage: python3 -m model_drift {compare,serve}", file=sys.stderr)
        return 2
    try:
        settings = Settings.read(os.environ)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    # Each imports what it needs: Evidently alone takes some seconds and 300 MiB.
    try:
        if arguments == ["serve"]:
            from model_drift.exporter import serve

            serve(settings)
        else:
            from model_drift.compare import run

            run(settings)
    except OSError as error:  # what S3 says
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
