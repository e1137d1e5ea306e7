"""What is measured, on a real cluster, in namespaces of the bench's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster
from bench import measure, synthetic

ROOT = Path(__file__).resolve().parents[2]
PREFIX = "mlops-bench-"
HERE = Path(__file__).parent
ONE = "c00"
"""The component of the cases that have only one."""
UNCHANGED, ALL_NEW = "nothing", "all, they are new"


@dataclass(frozen=True)
class State:
    """What each component has: `objects` in a namespace, of which the first `changed` have `revision`."""

    namespace: str
    objects: int
    changed: int = 0
    revision: int = 0


@dataclass
class Bench:
    """Where and how things are measured. `say` is called with a line of progress."""

    cluster: Cluster
    bin: Path
    kubectl: str
    env: Mapping[str, str]
    work: Path
    rounds: int
    say: Callable[[str], None]
    _revision: int = 0

    def new_revision(self) -> int:
        """A revision that no object had before."""
        self._revision += 1
        return self._revision

    def playbook(
        self, path: Path, inventory: Path, state: State, report: Path | None = None, **more: str
    ) -> measure.Run:
        """One run of a playbook on synthetic components, of which each has the objects of `state`."""
        variables = {
            "bench_objects": state.objects,
            "bench_changed": state.changed,
            "bench_revision": state.revision,
            "platform_namespace": state.namespace,
            "platform_kubeconfig": self.cluster.kubeconfig,
        }
        times = self.work / "times"
        env = {
            **self.env,
            "ANSIBLE_COLLECTIONS_PATH": f"{ROOT / '.collections'}:{self.work / 'collections'}",
            "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback"),
            "ANSIBLE_CALLBACKS_ENABLED": "mlops.platform.report,task_times",
            "BENCH_TIMES": str(times),
        }
        command = [self.bin / "ansible-playbook", path, "-i", inventory, "-e", json.dumps({**variables, **more})]
        return measure.run(list(map(str, command)), env, ROOT, times, report)

    def site(self, inventory: Path, state: State) -> measure.Run:
        """One run of the platform's own playbook."""
        report = Path(self.env["MLOPS_PLATFORM_REPORTS"]) / "latest" / "report.json"
        return self.playbook(ROOT / "playbooks" / "site.yml", inventory, state, report)

    def rendered(self, inventory: Path, state: State) -> Path:
        """The manifests of such a run, as a file for others to apply."""
        directory = self.work / f"{state.namespace}-{state.revision}"
        self.playbook(ROOT / "playbooks" / "render.yml", inventory, state, component_render_directory=str(directory))
        return directory / f"{ONE}.yml"

    def apply_by_kubectl(self, manifests: Path) -> float:
        """The seconds of kubectl."""
        command = [self.kubectl, "apply", "--server-side", "--field-manager=bench", "-f", str(manifests)]
        return measure.run(command, self.env, ROOT).seconds

    @contextmanager
    def namespaces(self) -> Iterator[None]:
        """Removes the bench's namespaces before and after, those of a run that was killed too."""
        self.remove_namespaces()
        try:
            yield
        finally:
            self.remove_namespaces()

    def remove_namespaces(self) -> None:
        """Delete the bench's namespaces; the cluster goes on with it by itself."""
        for item in self.cluster.list("v1", "Namespace"):
            if item["metadata"]["name"].startswith(PREFIX):
                self.cluster.delete("v1", "Namespace", item["metadata"]["name"])

    def create_namespace(self, name: str) -> None:
        """Create a namespace for what does not create its own."""
        self.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


def applying(bench: Bench, sizes: Sequence[int]) -> list[dict[str, Any]]:
    """The engine beside kubectl, for each number of objects: all new, then unchanged, then changed in part."""
    found: list[dict[str, Any]] = []
    for count in sizes:
        new = [State(f"{PREFIX}{count}-{number}", count) for number in range(bench.rounds)]
        found.append(compared(bench, ALL_NEW, new))
        for change, changed in {UNCHANGED: 0, "1 object": 1, "10 %": count // 10}.items():
            revisions = [bench.new_revision() if changed else 0 for _ in new]
            found.append(compared(bench, change, [replace(new[-1], changed=changed, revision=r) for r in revisions]))
    return found


def compared(bench: Bench, change: str, states: Sequence[State]) -> dict[str, Any]:
    """One row: runs and kubectl in turn, a round for each state. `apply` is the run's task that applies."""
    count = states[0].objects
    bench.say(f"{count} objects, changed: {change}")
    inventory = synthetic.write(bench.work, {ONE: []}, checked=False)
    theirs = [replace(state, namespace=f"{state.namespace}-kubectl") for state in states]
    manifests: dict[State, Path] = {}
    for state in dict.fromkeys(theirs):
        bench.create_namespace(state.namespace)
        manifests[state] = bench.rendered(inventory, state)
    runs: list[measure.Run] = []

    def ours(number: int) -> float:
        runs.append(bench.site(inventory, states[number]))
        return runs[-1].seconds

    seconds = measure.in_turn(
        len(states), {"run": ours, "kubectl": lambda number: bench.apply_by_kubectl(manifests[theirs[number]])}
    )
    seconds["apply"] = [item.of(measure.APPLY) for item in runs]
    ratios = {part: measure.ratio(seconds[part], seconds["kubectl"]) for part in ("apply", "run")}
    return {"objects": count, "changed": change, "seconds": seconds, "ratios": ratios, "phases": phases(runs[-1])}


def phases(run: measure.Run) -> dict[str, float]:
    """The share of each part of a run of one component: start-up, checks, applying, validating, all the rest."""
    parts = {
        "start of ansible-playbook": min(task.begin for task in run.tasks) - run.begin,
        "checks of inventory and cluster": run.of("preflight", "component_survey", "precheck"),
        "applying": run.of(measure.APPLY),
        "validating": run.of(measure.VALIDATE),
    }
    parts["between the tasks"] = run.seconds - sum(parts.values())
    return {name: seconds / run.seconds for name, seconds in parts.items()}


def per_object(bench: Bench, count: int) -> dict[str, Any]:
    """One kubernetes.core task an object beside kubectl, nothing changed; ansible-playbook's start is not counted."""
    bench.say(f"{count} objects by one task each")
    state = State(f"{PREFIX}tasks", count)
    bench.create_namespace(state.namespace)
    inventory = synthetic.write(bench.work, {ONE: []}, checked=False)
    manifests = bench.rendered(inventory, state)
    bench.apply_by_kubectl(manifests)
    tasks = bench.playbook(HERE / "per_object.yml", inventory, state, bench_manifests=str(manifests)).of("k8s")
    kubectl = [bench.apply_by_kubectl(manifests) for _ in range(3)]
    return {"objects": count, "seconds": {"tasks": tasks, "kubectl": kubectl}, "ratio": tasks / median(kubectl)}


def start_up(bench: Bench) -> list[float]:
    """The seconds of a playbook that does nothing: less than that no run can take."""
    bench.say("start of ansible-playbook")
    inventory = synthetic.write(bench.work, {ONE: []}, checked=False)
    return [bench.playbook(HERE / "nothing.yml", inventory, State("default", 0)).seconds for _ in range(bench.rounds)]


def waves(bench: Bench, counts: Sequence[int]) -> list[dict[str, Any]]:
    """Runs of many components that build on each other, nothing changed, beside their critical path."""
    state = State(f"{PREFIX}waves", 10)
    bench.site(synthetic.write(bench.work, {synthetic.SERVER: []}, checked=False), state)
    found: list[dict[str, Any]] = []
    for count in counts:
        for shape, make in synthetic.SHAPES.items():
            requires = make(count)
            if requires in [item["requires"] for item in found]:
                continue  # two components are a chain and a fan
            bench.say(f"{count} components, {shape}")
            inventory = synthetic.write(bench.work, requires, checked=True)
            bench.site(inventory, state)
            runs = [bench.site(inventory, state) for _ in range(bench.rounds)]
            seconds = {
                "run": [run.seconds for run in runs],
                "critical_path": [measure.critical_path(run, requires) for run in runs],
                "work": [run.work for run in runs],
            }
            ratio = measure.ratio(seconds["run"], seconds["critical_path"])
            found.append(
                {"components": count, "shape": shape, "requires": requires, "seconds": seconds, "ratio": ratio}
            )
    return found
