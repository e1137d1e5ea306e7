"""What the bench makes of its measurements; that its components are components."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from bench import cases, measure, results, synthetic
from bench.measure import Run, Task

ROOT = Path(__file__).resolve().parents[2]


def component(name: str, begin: float, apply: float, validate: float) -> list[Task]:
    """The tasks of a component that applies from `begin` to `apply`, and validates until `validate`."""
    included = Task(name, "include_role", 0.5, 0.6)
    return [included, Task(name, "component_apply", begin, apply), Task(name, "component_health", apply, validate)]


def test_a_run_without_gaps_is_its_critical_path() -> None:
    # b is there from the start, waits in its first task until a is done, and works for 3 seconds.
    run = Run(0, 8, component("a", 1, 3, 4) + component("b", 1, 5, 7))
    assert measure.critical_path(run, {"a": [], "b": ["a"]}) == 8


def test_what_happens_between_the_tasks_is_not_on_the_critical_path() -> None:
    late = [Task("b", "component_apply", 1, 6), Task("b", "component_health", 9, 10)]
    run = Run(0, 11, component("a", 1, 3, 4) + late)
    assert measure.critical_path(run, {"a": [], "b": ["a"]}) == 1 + (3 + 3) + 1


def test_the_longest_way_counts_and_not_what_runs_beside_it() -> None:
    run = Run(0, 12, component("a", 1, 2, 3) + component("b", 1, 4, 6) + component("c", 1, 10, 11))
    assert measure.critical_path(run, {"a": [], "b": ["a"], "c": []}) == 12


def test_contestants_are_measured_in_turn() -> None:
    order: list[str] = []

    def contestant(name: str, number: int) -> float:
        order.append(f"{name}{number}")
        return float(number)

    found = measure.in_turn(2, {"a": lambda n: contestant("a", n), "b": lambda n: contestant("b", n)})
    assert order == ["a0", "b0", "a1", "b1"]
    assert found == {"a": [0.0, 1.0], "b": [0.0, 1.0]}


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    assert measure.ratio([1, 10, 3], [2, 2, 2]) == 1.5
    with pytest.raises(ValueError, match="longer"):
        measure.ratio([1], [1, 2])


def test_a_command_that_fails_is_said_with_its_output(tmp_path: Path) -> None:
    with pytest.raises(measure.Failed, match=r"(?s)ended with 3.*what went wrong"):
        measure.run([sys.executable, "-c", "print('what went wrong'); raise SystemExit(3)"], {}, tmp_path)


def test_phases_are_shares_of_the_run() -> None:
    tasks = [
        Task("c00", "preflight", 2, 3),
        Task("c00", "component_apply", 4, 8),
        Task("c00", "component_health", 8, 9),
    ]
    found = cases.phases(Run(0, 10, tasks))
    assert found == {
        "start of ansible-playbook": 0.2,
        "checks of inventory and cluster": 0.1,
        "applying": 0.4,
        "validating": 0.1,
        "between the tasks": pytest.approx(0.2),
    }


def test_shapes_of_requirements() -> None:
    assert synthetic.chain(3) == {"c00": [], "c01": ["c00"], "c02": ["c01"]}
    assert synthetic.fan(3) == {"c00": [], "c01": ["c00"], "c02": ["c00"]}


def test_the_growth_is_that_of_unchanged_objects() -> None:
    rows: list[dict[str, Any]] = [
        {"objects": count, "changed": changed, "seconds": {"apply": seconds}}
        for count, changed, seconds in (
            (400, "nothing", [4.0]),
            (100, "nothing", [1.0, 2.0, 9.0]),
            (1600, "nothing", [5.0]),
            (1600, "1 object", [7.0]),
        )
    ]
    assert results.growth(rows, "apply") == (16, 2.5)


def test_only_what_stands_between_the_marks_is_replaced() -> None:
    page = f"before\n{results.BEGIN}\nold\n{results.END}\nafter\n"
    assert results.between_marks(page, "new\n") == f"before\n{results.BEGIN}\nnew\n{results.END}\nafter\n"
    with pytest.raises(ValueError, match="are missing"):
        results.between_marks("no marks", "new")


def test_the_page_shows_what_was_measured(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    document = json.loads((ROOT / "docs" / "performance.json").read_text(encoding="utf-8"))
    assert results.between_marks(page, results.markdown(document)) == page
    results.plot(document, tmp_path / "performance.svg")
    assert "</svg>" in (tmp_path / "performance.svg").read_text(encoding="utf-8")


def ansible(tmp_path: Path, playbook: str, inventory: Path, **variables: object) -> str:
    """What a playbook of the project prints for an inventory of the bench; no cluster is needed."""
    given = {"bench_objects": 10, "bench_changed": 1, "bench_revision": 7, "platform_namespace": "b", **variables}
    command = [str(Path(sys.prefix) / "bin" / "ansible-playbook"), f"playbooks/{playbook}.yml", "-i", str(inventory)]
    env = {
        "HOME": str(tmp_path),
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": f"{ROOT / '.collections'}:{tmp_path / 'collections'}",
        "MLOPS_PLATFORM_REPORTS": str(tmp_path / "reports"),
        "LC_ALL": "C.UTF-8",
    }
    command += ["-e", json.dumps(given)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_components_of_the_bench_are_components(tmp_path: Path) -> None:
    inventory = synthetic.write(tmp_path, {synthetic.SERVER: [], "c00": [], "c01": ["c00"]}, checked=True)
    ansible(tmp_path, "check-inventory", inventory)
    ansible(tmp_path, "render", inventory, component_render_directory=str(tmp_path / "rendered"))
    objects = list(yaml.safe_load_all((tmp_path / "rendered" / "c01.yml").read_text(encoding="utf-8")))
    kinds = [item["kind"] for item in objects]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "ServiceAccount": 1, "NetworkPolicy": 1, "ConfigMap": 6, "Service": 2,
    }  # fmt: skip
    revisions = [item["data"]["revision"] for item in objects if item["kind"] == "ConfigMap"]
    assert revisions == ["7", "0", "0", "0", "0", "0"]
