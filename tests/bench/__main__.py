"""How fast the platform applies, beside kubectl and beside what Ansible users know: `make bench`.

Needs the cluster of INVENTORY to be up, and in its registry the image of CoreDNS, which serves what the checks ask
for. Writes docs/performance.md, .json and .svg; with --quick, which takes a minute or two and shows whether
everything works, it writes them below reports/ instead.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path

import collection_names  # noqa: F401  (makes the collection importable)
from ansible import release
from ansible_collections.mlops.platform.plugins.module_utils.cluster import connect
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from bench import cases, measure, results

from tools import verbs

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "performance.md"


def main() -> int:
    """Parse the command line, measure, and write what was found."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--inventory", default="local", help="a folder of inventories/, or a path")
    parser.add_argument("--quick", action="store_true", help="few and small cases, one round")
    arguments = parser.parse_args()
    facts = verbs.inventory_facts(arguments.inventory)
    kubectl = facts["kubectl"] and str(Path(verbs.kubectl_directory(facts["kubectl"])) / "kubectl")
    kubectl = kubectl or shutil.which("kubectl") or ""
    if not kubectl:
        print("bench: there is no kubectl to compare with: install one", file=sys.stderr)
        return 2
    try:
        cluster = connect(facts["kubeconfig"])
        version = cluster.request("GET", "/version", timeout=5)["gitVersion"]
    except PlatformError as error:
        print(f"bench: {error}; make up first, or say INVENTORY=<a folder of inventories/>", file=sys.stderr)
        return 2
    lock = verbs.one_at_a_time("bench")
    try:
        with tempfile.TemporaryDirectory(prefix="mlops-platform-bench-") as work:
            env = {
                **verbs.environment(),
                "KUBECONFIG": str(cluster.kubeconfig),
                "MLOPS_PLATFORM_REPORTS": f"{work}/reports",
                "NO_COLOR": "1",
            }
            started = time.monotonic()
            bench = cases.Bench(
                cluster, verbs.BIN, kubectl, env, Path(work), 1 if arguments.quick else 3,
                lambda line: print(f"{time.monotonic() - started:6.1f} s  {line}", flush=True),
            )  # fmt: skip
            document = measured(bench, str(version), arguments.quick)
    except measure.Failed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    finally:
        os.close(lock)
    write(document, ROOT / "reports" / "bench" if arguments.quick else PAGE.parent)
    return 0


def measured(bench: cases.Bench, kubernetes: str, quick: bool) -> dict[str, object]:
    """The document of one run of the bench."""
    with bench.namespaces():
        return {
            "schema_version": 1,
            "rounds": bench.rounds,
            "machine": {
                "processors": os.cpu_count(),
                "kubernetes": kubernetes,
                "ansible": release.__version__,
                "python": platform.python_version(),
            },
            "start_up": cases.start_up(bench),
            "applying": cases.applying(bench, (20, 100) if quick else (100, 400, 1600)),
            "per_object": cases.per_object(bench, 5 if quick else 25),
            "waves": cases.waves(bench, (2, 4) if quick else (2, 8, 32)),
        }


def write(document: dict[str, object], directory: Path) -> None:
    """Write the document, the page and the plot into a folder, and the tables to the terminal."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "performance.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    tables = results.markdown(document)
    page = results.between_marks(PAGE.read_text(encoding="utf-8"), tables)
    (directory / "performance.md").write_text(page, encoding="utf-8")
    results.plot(document, directory / "performance.svg")
    print(f"\n{tables}\n\nwritten: {directory}/performance.md, .json and .svg")


if __name__ == "__main__":
    sys.exit(main())
