"""The tests of the Makefile: runs their steps, stops at the first failure, says what took the time.

The Molecule step has a cluster of its own, which is removed again however the run ends. It leaves much of the machine
unused while it waits; the steps that need no cluster run beside it, one after the other, and take what is left.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.prefix) / "bin"
CACHE = Path(os.environ.get("MLOPS_PLATFORM_CACHE") or Path.home() / ".cache" / "mlops-platform")
INVENTORY = ROOT / "molecule" / "inventory"
MEMORY = ROOT / ".ansible" / "molecule"
"""Where Molecule notes that it made the cluster."""
IMAGE_CODE = [
    "images/postgresql",
    "images/mlflow/plugin",
    "images/model-api/model_api",
    "images/model-drift",
    "images/model-server",
]
# What tests run, with the compiled packages kept for Molecule's images, which share them.
PROGRAMS = '{"images_names": ["promtool", "prometheus-server"], "images_keep_caches": true}'
# Only under this name are the plugins the modules that they are imported as.
PLUGINS = ".collections/ansible_collections/mlops/platform/plugins"
SUMMARY = re.compile(r"=+ (?=.*\d+ (?:passed|failed|error))(.*) in [\d.]+s.* =+")
COLOURS = re.compile(r"\x1b\[[\d;]*m")
COUNT = re.compile(r"(\d+) (passed|failed|errors?|skipped)")
FAILED_BOX = re.compile(r"└─ Return code: [1-9]")
"""Where Molecule ends the output of a command that failed."""
CAUSE_LINES = 20
NICE = 10
"""What runs beside a cluster gets a tenth of what the cluster gets of a busy core, and all of an idle one."""


@dataclass
class Step:
    """One command; `shown` ones print as they go, the others only when they fail. `first` ones come before all others.

    `beside` something else it has what that leaves of the machine, and prints only when it fails; `ended` is one that
    was ended because another failed.
    """

    name: str
    command: list[str]
    shown: bool = False
    first: bool = False
    beside: bool = False
    ended: bool = False
    seconds: float = 0.0
    status: int | None = None
    counts: dict[str, int] = field(default_factory=dict)
    cause: list[str] = field(default_factory=list)
    child: subprocess.Popen[str] | None = None


STEPS = {
    "lint": [
        Step("ruff check", ["ruff", "check", "."]),
        Step("ruff format", ["ruff", "format", "--check", "."]),
        Step("yamllint", ["yamllint", "--strict", "."]),
        Step("antsibull-changelog", ["antsibull-changelog", "lint"]),
        Step("antsibull-docs", ["antsibull-docs", "lint-collection-docs", "--plugin-docs", "--skip-rstcheck", "."]),
        Step("actionlint", ["go", "-C", "tools", "tool", "actionlint"]),
        Step("mypy", ["mypy", PLUGINS, "docs/conf.py", "tools", "examples", "tests", "molecule", *IMAGE_CODE]),
        Step("ansible-lint", ["ansible-lint"]),
    ],
    "unit": [Step("unit", ["pytest", "tests/unit"], shown=True)],
    "golden": [
        Step("golden", ["pytest", "tests/golden", "tests/playbooks"], shown=True),
        Step("programs of images", ["pytest", "tests/images"], shown=True),
    ],
    "rules": [
        Step(
            "programs",
            ["ansible-playbook", "playbooks/images.yml", "-i", str(INVENTORY), "-e", PROGRAMS],
            shown=True,
            first=True,
        ),
        Step("rules", ["pytest", "tests/rules"], shown=True),
    ],
    "molecule": [Step("molecule", ["molecule", "test", "--all", "--exclude", "serving_faults"], shown=True)],
    "faults": [Step("faults", ["molecule", "test", "--scenario-name", "serving_faults"], shown=True)],
}
ALL = ("lint", "unit", "golden", "rules", "molecule")
"""What `make test` runs; breaking what serves models, part by part, takes too long for every change."""
ON_A_CLUSTER = ("molecule", "faults")
CLEAN = ["ansible-playbook", "playbooks/clean.yml", "-i", str(INVENTORY), "-e", "confirm=yes"]


def environment() -> dict[str, str]:
    """The environment of every step: the project's programs first, nothing of the caller's Ansible and Kubernetes."""
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "MOLECULE_", "PLATFORM_"))
    }
    kept.pop("KUBECONFIG", None)
    return {
        **kept,
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "MLOPS_PLATFORM_CACHE": str(CACHE),
        "MLOPS_PLATFORM_REPORTS": str(ROOT / ".ansible" / "molecule-reports"),
        "MOLECULE_EPHEMERAL_DIRECTORY": str(MEMORY),
        "MOLECULE_GLOB": "molecule/*/molecule.yml",
        "PYTHONUNBUFFERED": "1",
    }


def execute(step: Step) -> int:
    """Run a step to its end and note its time and its counts; returns its status. Its children end with it."""
    print(f"--- {step.name}: {shlex.join(step.command)}", flush=True)
    started = time.monotonic()
    output: list[str] = []
    child = step.child = subprocess.Popen(
        step.command, cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
    )  # fmt: skip
    try:
        if step.beside:
            yield_to_others(child)
        shown = step.shown and not step.beside
        assert child.stdout
        for line in child.stdout:
            output.append(line)
            if shown:
                print(line, end="", flush=True)
        step.status = child.wait()
    finally:
        step.seconds = time.monotonic() - started
        if child.poll() is None:
            end(child)
    for line in output:
        if found := SUMMARY.search(COLOURS.sub("", line)):
            for number, kind in COUNT.findall(found[1]):
                step.counts[kind] = step.counts.get(kind, 0) + int(number)
    if step.ended:
        step.status = None
        return 1
    if step.status:
        step.cause = cause(output)
        if not shown:
            print("".join(output), end="")
    print(f"{'failed' if step.status else 'ok'}: {step.name}, {step.seconds:.1f} s", flush=True)
    return step.status


def yield_to_others(child: subprocess.Popen[str]) -> None:
    """Let a step's processes have what others leave. By autogroups a kernel shares among sessions, not processes."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, child.pid, NICE)
        Path(f"/proc/{child.pid}/autogroup").write_text(str(NICE), encoding="utf-8")


def cause(output: list[str]) -> list[str]:
    """The last lines that a step printed before it failed, without colours and Molecule's boxes."""
    lines = [COLOURS.sub("", line).rstrip() for line in output]
    failed = next((number for number, line in enumerate(lines) if FAILED_BOX.search(line)), len(lines))
    told = [line.removeprefix("  │").rstrip() for line in lines[:failed]]
    return [line for line in told if line][-CAUSE_LINES:]


def end(child: subprocess.Popen[str]) -> None:
    """End a step's processes, politely first: ansible-playbook has children of its own."""
    for kind, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 5)):
        try:
            os.killpg(child.pid, kind)
            child.wait(seconds)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


@contextmanager
def own_cluster() -> Iterator[None]:
    """No other run on this machine, and no cluster of the tests before and after."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "run.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another run is under way on this machine: waiting for its end", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        clean = Step("remove the tests' cluster", CLEAN)
        if execute(clean):
            raise SystemExit(1)
        shutil.rmtree(MEMORY, ignore_errors=True)
        try:
            yield
        finally:
            execute(clean)


def lane(steps: list[Step], others: list[Step]) -> None:
    """Run steps until one fails; the `others` that run then are ended."""
    for step in steps:
        if step.ended or execute(step):
            for other in others:
                stop(other)
            return


def stop(step: Step) -> None:
    """End a step that is under way, and have it not begin where it is not."""
    if step.status is None:
        step.ended = True
        if step.child:
            end(step.child)


@contextmanager
def beside(steps: list[Step], others: list[Step]) -> Iterator[Future[None]]:
    """Run steps one after the other while others go on; what still runs at the end is ended."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        try:
            yield pool.submit(lane, steps, others)
        finally:
            for step in steps:
                stop(step)


def run(names: list[str], only: str = "") -> list[Step]:
    """Run the steps of some parts, or those whose name begins with `only`, until one fails; returns the begun ones."""
    chosen = [(name in ON_A_CLUSTER, step) for name in names for step in STEPS[name] if step.name.startswith(only)]
    steps = [step for _, step in chosen]
    slow = [step for on_a_cluster, step in chosen if on_a_cluster]
    quick = [step for on_a_cluster, step in chosen if not on_a_cluster and not step.first]
    for step in quick:
        step.beside = bool(slow)
    if not any(execute(step) for step in steps if step.first):
        with beside(quick, slow) as others:
            if slow:
                with own_cluster():
                    lane(slow, quick)
            others.result()
    return [step for step in steps if step.child and not step.ended]


def closing(steps: list[Step], seconds: float) -> str:
    """What took the time, longest first, why a step failed, and a last line as pytest writes it."""
    width = max(len(step.name) for step in steps)
    lines: list[str] = []
    for step in sorted(steps, key=lambda step: -step.seconds):
        counts = ", ".join(f"{number} {kind}" for kind, number in step.counts.items())
        lines.append(f"{step.name:{width}}  {step.seconds:7.1f} s  {counts}".rstrip())
    for step in steps:
        lines += [f"why {step.name} failed:", *step.cause] if step.status else []
    totals: dict[str, int] = {}
    for step in steps:
        if step.status and not step.counts.get("failed"):
            totals["failed"] = totals.get("failed", 0) + 1
        for kind, number in (step.counts or ({} if step.status else {"passed": 1})).items():
            totals[kind] = totals.get(kind, 0) + number
    text = ", ".join(f"{totals[kind]} {kind}" for kind in ("failed", "passed", "skipped") if kind in totals)
    return "\n".join(["", *lines, f"==== {text} in {seconds:.2f}s ===="])


def interrupted(number: int, _: FrameType | None) -> None:
    """Leave by way of every `finally`; further signals of the kind are not heard."""
    signal.signal(number, lambda *_: None)  # a handler, unlike SIG_IGN, is not inherited by what cleans up
    raise SystemExit(128 + number)


def main() -> int:
    """Parse the command line and run the parts; returns 0 where all passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=["all", *STEPS])
    parser.add_argument("--step", default="", help="only the steps whose name begins like this, for instance ruff")
    arguments = parser.parse_args()
    parts = list(ALL) if arguments.part == "all" else [arguments.part]
    names = [step.name for part in parts for step in STEPS[part]]
    if not any(name.startswith(arguments.step) for name in names):
        parser.error(f"no step begins with {arguments.step!r}; there are {', '.join(names)}")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, interrupted)
    started = time.monotonic()
    steps = run(parts, arguments.step)
    print(closing(steps, time.monotonic() - started))
    return 1 if any(step.status for step in steps) else 0


if __name__ == "__main__":
    sys.exit(main())
