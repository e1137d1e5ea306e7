"""What is refused before a local cluster is made."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path

from ansible_collections.mlops.platform.plugins.module_utils.local_cluster import node, preflight

# Two routes as /proc/net/route writes them: the default one by 192.0.2.1, and 192.0.2.0/24 on eth0.
ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""
TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1388 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0 100 0 0 10 0
   1: 0100007F:1389 0100007F:C000 01 00000000:00000000 00:00000000 00000000     0        0 4243 1 0 100 0 0 10 0
"""
NODE = {
    "metadata": {"creationTimestamp": "2026-11-21T10:00:00Z"},
    "status": {"conditions": [{"type": "Ready", "status": "True"}]},
}
STARTED = 1795255200.0  # 2026-11-21 10:00:00 UTC


def test_other_systems_and_users_are_refused() -> None:
    assert "needs Linux" in preflight.platform_problems("darwin", 0)[0]
    assert "not root" in preflight.platform_problems("linux", 1000)[0]


def test_memory_is_said_in_numbers() -> None:
    assert preflight.memory_problem("MemTotal:  2048000 kB\n", 2000) == ""
    problem = preflight.memory_problem("MemTotal:  2048000 kB\nMemFree: 5 kB\n", 3500)
    assert "2000 MiB" in problem
    assert "3500" in problem


def test_disk_is_looked_at_where_the_data_will_be(tmp_path: Path) -> None:
    assert preflight.disk_problem(preflight.Disk(tmp_path / "not" / "yet", 1, "minimum")) == ""
    problem = preflight.disk_problem(preflight.Disk(tmp_path / "not" / "yet", 10**12, "minimum"))
    assert problem.startswith(f"{tmp_path} has ")
    assert problem.endswith(" MiB free: the cluster needs 1000000000000 (minimum)")


def test_only_packages_without_their_program_are_missing(tmp_path: Path) -> None:
    packages = {"dash": "sh", "nothing": "no-such-program", "plugins": str(tmp_path / "ptp")}
    assert preflight.missing_packages(packages) == ["nothing", "plugins"]


def test_default_routes_are_no_obstacle() -> None:
    assert preflight.routes(ROUTES) == [preflight.Route(IPv4Network("192.0.2.0/24"), "eth0")]


def test_networks_must_not_overlap_routes_or_each_other() -> None:
    routes = preflight.routes(ROUTES)
    assert preflight.overlap_problems({"pods": "10.244.0.0/16", "services": "10.96.0.0/16"}, routes) == []
    [problem] = preflight.overlap_problems({"pods": "192.0.0.0/16"}, routes)
    assert "pods 192.0.0.0/16 overlaps the route to 192.0.2.0/24 by eth0" in problem
    [problem] = preflight.overlap_problems({"pods": "10.0.0.0/8", "services": "10.96.0.0/16"}, [])
    assert "services 10.96.0.0/16 overlaps pods" in problem


def test_only_listening_sockets_count() -> None:
    assert preflight.listeners([TCP]) == {5000: "4242"}


def test_a_port_of_somebody_else_is_named_with_its_variable() -> None:
    listening = preflight.listeners([TCP])
    ports = {"local_cluster_registry_port": 5000, "local_cluster_etcd_port": 2379}
    assert preflight.port_problems(ports, listening, {"4242": 7}, {7}) == []
    [problem] = preflight.port_problems(ports, listening, {"4242": 999999999}, {7})
    assert "port 5000 (local_cluster_registry_port) is used by process 999999999" in problem
    [problem] = preflight.port_problems({"a": 1, "b": 1}, {}, {}, set())
    assert problem == "b and a are both 1"


def test_another_kubernetes_is_refused() -> None:
    assert preflight.neighbour_problem("*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n") == ""
    assert "another Kubernetes" in preflight.neighbour_problem("*nat\n:KUBE-SERVICES - [0:0]\nCOMMIT\n")


def test_what_cannot_change_is_refused() -> None:
    [problem] = preflight.kept_problems({"pods": "10.0.0.0/16"}, {"pods": "10.1.0.0/16", "new": "x"})
    assert "pods is 10.1.0.0/16, but the cluster was made with 10.0.0.0/16" in problem


def test_name_servers_on_the_loopback_device_do_not_count() -> None:
    assert preflight.nameservers(
        "search x\nnameserver 127.0.0.53\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\n"
    ) == [
        "192.0.2.53",
        "fe80::1%eth0",
    ]


def test_a_node_is_ready_only_by_what_it_says_now() -> None:
    lease = {"spec": {"renewTime": "2026-11-21T10:00:05.123456Z"}}
    assert node.node_problem(NODE, lease, STARTED) == ""
    assert "not reported" in node.node_problem(NODE, lease, STARTED + 60)
    assert node.node_problem(NODE, None, STARTED) == ""  # it has just registered
    assert "registered" in node.node_problem(None, None, STARTED)
    down = {**NODE, "status": {"conditions": [{"type": "Ready", "status": "False", "message": "no network"}]}}
    assert node.node_problem(down, lease, STARTED) == "no network"


def test_pods_that_ran_before_the_cluster_was_started_are_not_believed() -> None:
    def pods(started: str) -> dict[str, object]:
        state = {"running": {"startedAt": started}}
        return {"items": [{"metadata": {"name": "p"}, "status": {"containerStatuses": [{"state": state}]}}]}

    assert "pod p" in node.pods_problem(pods("2026-11-21T09:59:59Z"), STARTED)
    assert node.pods_problem(pods("2026-11-21T10:00:01Z"), STARTED) == ""
    assert node.pods_problem(None, STARTED) == ""


def test_pods_with_addresses_of_other_nodes_are_named() -> None:
    table = "\n".join(
        (
            "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT",
            "veth1 0200F40A 00000000 0005 0 0 0 FFFFFFFF 0 0 0",
            "veth2 0901F40A 00000000 0005 0 0 0 FFFFFFFF 0 0 0",
            "d6678-node2 0001F40A 02005F0A 0003 0 0 0 00FFFFFF 0 0 0",
        )
    )
    found = preflight.routes(table)
    assert preflight.stray_problems(found, "10.244.0.0/16", "10.244.0.0/16") == []
    (problem,) = preflight.stray_problems(found, "10.244.0.0/16", "10.244.0.0/24")
    assert "outside of 10.244.0.0/24, its part of the pods' network (10.244.1.9): stop the cluster first" in problem
