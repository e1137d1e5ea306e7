"""What NetworkPolicies say of endpoints that a site names."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.network_policies import way_to


def of(namespace: str) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}


@pytest.mark.parametrize(
    ("url", "way"),
    [
        ("https://s3.example.org", {"to": [], "ports": [443]}),
        ("https://s3.example.org:9443/path", {"to": [], "ports": [9443]}),
        ("http://10.1.2.3:9000", {"to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}], "ports": [9000]}),
        ("http://minio.storage.svc.cluster.local:9000", {"to": [of("storage")]}),
        ("http://minio.storage.svc", {"to": [of("storage")]}),
        ("postgresql://ml:pa%40ss@db.example.org/tracking", {"to": [], "ports": [5432]}),
        (
            "postgresql://[2001:db8::5]:5432,10.0.0.1:5433",
            {
                "to": [{"ipBlock": {"cidr": "2001:db8::5/128"}}, {"ipBlock": {"cidr": "10.0.0.1/32"}}],
                "ports": [5432, 5433],
            },
        ),
        ("postgresql://[2001:db8::5]:5432,db2.example.org:5433", {"to": [], "ports": [5432, 5433]}),
        ("postgresql+psycopg2://db.example.org/x", {"to": [], "ports": [5432]}),
    ],
)
def test_the_way_to_a_url(url: str, way: dict[str, Any]) -> None:
    assert way_to(url) == way


@pytest.mark.parametrize(
    ("url", "said"), [("s3://bucket", "no port"), ("https://", "no host"), ("http://a:b", "is no host and port")]
)
def test_what_is_no_way(url: str, said: str) -> None:
    with pytest.raises(PlatformError, match=said):
        way_to(url)
