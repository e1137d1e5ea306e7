"""Which iptables chains and rules belong to the local cluster."""

from __future__ import annotations

from ansible_collections.mlops.platform.plugins.module_utils.local_cluster import iptables

NETWORK = "mlops-platform-mlops"
PODS = "10.244.0.0/16"

BEFORE = """\
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A DOCKER-USER -s 192.0.2.7/32 -j DROP
COMMIT
"""

FILTER = """\
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:CNI-ADMIN - [0:0]
:CNI-FORWARD - [0:0]
:DOCKER-USER - [0:0]
:KUBE-FORWARD - [0:0]
-A FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A FORWARD -j DOCKER-USER
-A CNI-FORWARD -m comment --comment "CNI firewall plugin admin overrides" -j CNI-ADMIN
-A CNI-FORWARD -d 10.244.0.2/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A CNI-FORWARD -s 10.244.0.2/32 -j ACCEPT
{foreign}-A DOCKER-USER -s 192.0.2.7/32 -j DROP
-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
COMMIT
"""

NAT = """\
*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:CNI-0123456789abcdef01234567 - [0:0]
:CNI-DN-0123456789abcdef01234 - [0:0]
:CNI-feedfeedfeedfeedfeedfeed - [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
:CNI-HOSTPORT-SETMARK - [0:0]
:KUBE-SERVICES - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A POSTROUTING -s 10.244.0.2/32 -m comment --comment "name: \\"mlops-platform-mlops\\" id: \\"40ee\\"" -j CNI-0123456789abcdef01234567
-A POSTROUTING -s 10.88.0.2/32 -m comment --comment "name: \\"podman\\" id: \\"aaaa\\"" -j CNI-feedfeedfeedfeedfeedfeed
-A CNI-0123456789abcdef01234567 ! -d 224.0.0.0/4 -m comment --comment "name: \\"mlops-platform-mlops\\" id: \\"40ee\\"" -j MASQUERADE
-A CNI-DN-0123456789abcdef01234 -p tcp -m tcp --dport 8088 -j DNAT --to-destination 10.244.0.2:80
-A CNI-feedfeedfeedfeedfeedfeed ! -d 224.0.0.0/4 -m comment --comment "name: \\"podman\\" id: \\"aaaa\\"" -j MASQUERADE
-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \\"mlops-platform-mlops\\" id: \\"40ee\\"" -m multiport --dports 8088 -j CNI-DN-0123456789abcdef01234
-A CNI-HOSTPORT-SETMARK -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark 0x2000/0x2000
COMMIT
"""  # noqa: E501 one line is one rule


def removal(saved: str, kept: list[str] | None = None) -> list[str]:
    return iptables.removal(saved, NETWORK, PODS, kept or []).splitlines()


def test_nothing_of_ours_gives_nothing_to_do() -> None:
    assert removal(BEFORE) == []


def test_all_chains_and_the_rules_that_lead_to_them_go() -> None:
    assert removal(FILTER.format(foreign="")) == [
        "*filter",
        ":CNI-ADMIN - [0:0]",
        ":CNI-FORWARD - [0:0]",
        ":KUBE-FORWARD - [0:0]",
        '-D FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD',
        '-D FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD',
        "-X CNI-ADMIN",
        "-X CNI-FORWARD",
        "-X KUBE-FORWARD",
        "COMMIT",
    ]


def test_a_shared_chain_stays_while_others_use_it() -> None:
    lines = removal(FILTER.format(foreign="-A CNI-FORWARD -s 10.88.0.2/32 -j ACCEPT\n"))
    assert "-D CNI-FORWARD -s 10.244.0.2/32 -j ACCEPT" in lines
    assert not any("10.88.0.2" in line for line in lines)
    assert "-X CNI-FORWARD" not in lines
    assert "-X KUBE-FORWARD" in lines


def test_chains_of_other_networks_stay() -> None:
    lines = removal(NAT)
    assert "-X CNI-0123456789abcdef01234567" in lines
    assert "-X CNI-DN-0123456789abcdef01234" in lines
    assert not any("feed" in line or "podman" in line for line in lines)


def test_the_mark_of_host_ports_goes_with_the_last_of_them() -> None:
    assert "-X CNI-HOSTPORT-SETMARK" in removal(NAT)


def test_chains_that_were_there_before_are_never_touched() -> None:
    kept = ["filter/KUBE-FORWARD", "filter/CNI-FORWARD", "filter/CNI-ADMIN"]
    assert [line for line in removal(FILTER.format(foreign=""), kept) if "KUBE" in line or line.startswith("-X")] == []


def test_foreign_rules_are_in_no_removal() -> None:
    lines = removal(FILTER.format(foreign="") + NAT)
    assert not any("DOCKER" in line or "192.0.2.7" in line for line in lines)


def test_chain_names_include_the_built_in_ones() -> None:
    assert iptables.chain_names(BEFORE) == ["filter/INPUT", "filter/FORWARD", "filter/OUTPUT", "filter/DOCKER-USER"]


def test_an_empty_table_is_abandoned_only_if_it_is_new() -> None:
    empty = "*nat\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\nCOMMIT\n"
    assert iptables.abandoned(empty, []) == ["nat"]
    assert iptables.abandoned(empty, ["nat/PREROUTING"]) == []
    assert iptables.abandoned(BEFORE, []) == []
    assert iptables.abandoned("*nat\n:PREROUTING DROP [0:0]\nCOMMIT\n", []) == []


def test_what_leads_nowhere_is_refused_once_and_by_a_rule_that_goes_with_the_cluster() -> None:
    added = iptables.addition(BEFORE, NETWORK, "10.96.0.0/16").splitlines()
    assert added[:2] == ["*filter", ":CNI-ADMIN - [0:0]"]
    there = FILTER.format(foreign=f"{added[2]}\n")
    assert iptables.addition(there, NETWORK, "10.96.0.0/16") == ""
    assert ":CNI-ADMIN - [0:0]" not in iptables.addition(FILTER.format(foreign=""), NETWORK, "10.96.0.0/16")
    assert "-X CNI-ADMIN" in removal(there)
