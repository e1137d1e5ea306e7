"""Hosts with GPUs are prepared where there are some: a machine without them is refused with what it lacks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
NEEDED = 999
"""More GPUs than the machine of any test has."""


def prepared(folder: Path, **variables: Any) -> subprocess.CompletedProcess[str]:
    """Prepare this machine as the host of an inventory."""
    hosts = {"here": {"gpu_node_product": "Tesla-T4", "gpu_node_memory_mib": 15360, **variables}}
    local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    inventory = {"platform": {"vars": local, "children": {"gpu_nodes": {"hosts": hosts}}}}
    (folder / "hosts.yml").write_text(yaml.safe_dump(inventory), encoding="utf-8")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "PLATFORM_"))}
    program = Path(sys.executable).parent / "ansible-playbook"
    command: list[str | Path] = [program, ROOT / "playbooks" / "gpu-hosts.yml", "-i", folder / "hosts.yml"]
    environment = kept | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "KUBECONFIG": str(folder / "none")}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_a_machine_without_the_gpus_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    done = prepared(tmp_path, gpu_node_count=NEEDED)
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode
    assert "of NVIDIA's devices on its PCI bus, and gpu_node_count is 999" in said
    assert "set gpu_node_device_plugin to simulated" in said
    assert "0 changed" in said


@pytest.mark.parametrize("variables", [{"gpu_node_device_plugin": "simulated"}, {"gpu_node_host_prepared": False}])
def test_what_is_simulated_or_prepared_by_others_is_left_alone(tmp_path: Path, variables: dict[str, Any]) -> None:
    done = prepared(tmp_path, gpu_node_count=NEEDED, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 changed" in done.stdout + done.stderr
