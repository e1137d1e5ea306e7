"""Mounts, control groups and kernel settings of the local cluster, on made-up trees."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster import (
    cgroups,
    host,
    mounts,
    supervisor,
    sysctls,
)

MOUNTINFO = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:5 / /var/lib/mlops-platform/mlops/kubelet/pods/a/volumes/token rw - tmpfs tmpfs rw
31 22 0:6 / /run/mlops-platform/mlops/netns/cni-1 rw shared:1 - nsfs nsfs rw
32 30 0:7 / /var/lib/mlops-platform/mlops/kubelet/pods/a/volumes/token/deeper\\040one rw - tmpfs tmpfs rw
33 22 0:8 / /var/lib/mlops-platform/mlops-other rw - tmpfs tmpfs rw
34 31 0:9 / /run/mlops-platform/mlops/netns/cni-1 rw - nsfs nsfs rw
35 22 0:10 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate
"""


def test_mounts_are_taken_away_deepest_first_and_only_ours() -> None:
    table = mounts.parse(MOUNTINFO)
    found = mounts.under(table, [Path("/var/lib/mlops-platform/mlops"), Path("/run/mlops-platform/mlops")])
    assert found == [
        "/var/lib/mlops-platform/mlops/kubelet/pods/a/volumes/token/deeper one",
        "/var/lib/mlops-platform/mlops/kubelet/pods/a/volumes/token",
        "/run/mlops-platform/mlops/netns/cni-1",
        "/run/mlops-platform/mlops/netns/cni-1",
    ]


def test_mountinfo_with_optional_fields() -> None:
    assert mounts.parse(MOUNTINFO)[2] == mounts.Mount("/run/mlops-platform/mlops/netns/cni-1", "nsfs")


def tree(top: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(content)
    return top


def test_a_v1_cpuset_group_gets_processors_and_memory(tmp_path: Path) -> None:
    top = tree(tmp_path, {"cpuset.cpus": "0-1\n", "cpuset.mems": "0\n", "g/cpuset.cpus": "\n", "g/cpuset.mems": "0\n"})
    assert cgroups.create("g", [top]) == []
    assert (top / "g/cpuset.cpus").read_text() == "0-1\n"
    assert (top / "g/cpuset.mems").read_text() == "0\n"


def test_v2_switches_on_what_is_missing_and_says_so(tmp_path: Path) -> None:
    top = tree(tmp_path, {"cgroup.controllers": "cpuset cpu memory pids rdma", "cgroup.subtree_control": "memory pids"})
    tree(top / "g", {"cgroup.controllers": "cpu memory pids", "cgroup.subtree_control": ""})
    assert cgroups.create("g", [top], unified=top) == ["cpu", "cpuset"]
    assert (top / "g/cgroup.subtree_control").read_text() == "+pids"  # the last of the writes to a kernel file


def test_a_hybrid_v2_hierarchy_is_left_alone(tmp_path: Path) -> None:
    top = tree(tmp_path, {"cgroup.controllers": "", "cgroup.subtree_control": ""})
    assert cgroups.create("g", [top]) == []
    assert not (top / "g").exists()


def test_members_are_found_in_all_hierarchies_and_levels(tmp_path: Path) -> None:
    one = tree(tmp_path / "1", {"g/cgroup.procs": "", "g/pods/a/cgroup.procs": "11\n12\n", "cgroup.procs": "1\n"})
    two = tree(tmp_path / "2", {"g/pods/cgroup.procs": "12\n13\n", "other/cgroup.procs": "99\n"})
    assert cgroups.members("g", [one, two, tmp_path / "3"]) == {11, 12, 13}


def test_a_group_may_go_away_while_it_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("here", "gone"):
        (tmp_path / "g" / name).mkdir(parents=True)
        (tmp_path / "g" / name / "cgroup.procs").write_text("7\n" if name == "here" else "8\n")
    looked_at = Path.iterdir

    def iterdir(path: Path) -> Iterator[Path]:
        if path.name == "gone":
            shutil.rmtree(path)
        return looked_at(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    assert cgroups.members("g", [tmp_path]) >= {7}


def test_removal_goes_from_the_leaves_to_the_root(tmp_path: Path) -> None:
    (tmp_path / "g/pods/a").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    assert cgroups.remove("g", [tmp_path])
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
    assert not cgroups.remove("g", [tmp_path])


def test_kernel_settings_go_back_to_what_they_were(tmp_path: Path) -> None:
    root = tree(tmp_path, {"vm/overcommit_memory": "0\n", "kernel/panic": "1\n", "net/ipv4/ip_forward": "0\n"})
    remembered = sysctls.current(root)
    assert remembered == {"vm.overcommit_memory": "0", "kernel.panic": "1", "net.ipv4.ip_forward": "0"}
    sysctls.write("vm.overcommit_memory", "1", root)
    sysctls.write("net.ipv4.ip_forward", "1", root)
    assert sysctls.restore(remembered, root) == ["vm.overcommit_memory", "net.ipv4.ip_forward"]
    assert sysctls.current(root) == remembered
    assert sysctls.restore(remembered, root) == []


def test_forwarding_is_put_back_before_what_it_resets() -> None:
    order = list(sysctls.CHANGED)
    assert order.index("net.ipv4.ip_forward") < order.index("net.ipv4.conf.all.accept_redirects")


def test_pods_are_known_by_their_routes() -> None:
    table = "\n".join(
        (
            "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT",
            "eth0 00000000 010200C0 0003 0 0 0 00000000 0 0 0",
            "veth1 0200F40A 00000000 0005 0 0 0 FFFFFFFF 0 0 0",
            "eth0 000200C0 00000000 0001 0 0 0 00FFFFFF 0 0 0",
            "veth9 0200F50A 00000000 0005 0 0 0 FFFFFFFF 0 0 0",
        )
    )
    assert host.pod_devices(table, "10.244.0.0/16") == ["veth1"]


def test_the_memory_of_a_cluster_is_that_of_its_processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    marked = host.Host(
        tmp_path, tmp_path / "run", "no-such-group", "none", "10.0.0.1", "net", "10.1.0.0/16", "10.2.0.0/16"
    )
    assert host.memory(marked) == {}
    block = "block = bytearray(64 << 20); print(flush=True); input()"
    program = subprocess.Popen(
        [sys.executable, "-c", block],
        env={supervisor.MARKER: str(tmp_path / "run")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert program.stdin
    assert program.stdout
    program.stdout.readline()
    found = host.memory(marked)
    program.communicate(b"\n")
    assert found["pods_bytes"] == 0
    assert 64 << 20 < found["kubernetes_bytes"] < 96 << 20
