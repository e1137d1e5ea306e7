"""A component's own webhooks: what they look at, and when one of them did not answer."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.admission import Admission, completed_by_its_controller
from ansible_collections.mlops.platform.plugins.module_utils.manifests import Manifest

WIDGET: Manifest = {"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "a"}}
GADGET: Manifest = {"apiVersion": "example.org/v1", "kind": "Gadget", "metadata": {"name": "a"}}
FOREIGN: Manifest = {"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": {"name": "a"}}
REFUSAL = (
    'Internal error occurred: failed calling webhook "{}": failed to call webhook: Post "https://...": no endpoints'
)
CONVERSION = "conversion webhook for {}, Kind=Widget failed: Post ...: connection refused"


def definition(kind: str, **spec: Any) -> Manifest:
    names = {"kind": kind, "plural": f"{kind.lower()}s"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.lower()}s.example.org"},
        "spec": {"group": "example.org", "names": names, **spec},
    }


def hook(*rules: dict[str, Any], annotations: dict[str, str] | None = None, **config: Any) -> Manifest:
    service = {"service": {"name": "hook", "namespace": "widgets"}, **config}
    one = {"name": "validate.example.org", "clientConfig": service} | ({"rules": list(rules)} if rules else {})
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "example", "annotations": annotations or {}},
        "webhooks": [one],
    }


def rule(*resources: str, group: str = "example.org") -> dict[str, Any]:
    return {"apiGroups": [group], "apiVersions": ["v1"], "resources": list(resources)}


BOTH = [definition("Widget"), definition("Gadget")]


@pytest.mark.parametrize(
    ("manifests", "intercepted"),
    [
        (BOTH, []),
        ([*BOTH, hook(rule("widgets"))], ["Widget"]),
        ([*BOTH, hook(rule("widgets/status", "gadgets/scale"))], ["Widget", "Gadget"]),
        ([*BOTH, hook(rule("*/*"))], ["Widget", "Gadget"]),
        ([*BOTH, hook(rule("pods", group=""))], []),
        ([*BOTH, hook(rule("*", group="*"))], ["Widget", "Gadget", "Certificate"]),
        ([*BOTH, hook()], ["Widget", "Gadget"]),
        ([*BOTH, hook(rule("*", group="cert-manager.io"))], ["Certificate"]),
        ([definition("Widget", conversion={"strategy": "Webhook"}), definition("Gadget")], ["Widget", "Gadget"]),
    ],
)
def test_what_webhooks_look_at(manifests: list[Manifest], intercepted: list[str]) -> None:
    admission = Admission.of(manifests)
    assert [item["kind"] for item in (WIDGET, GADGET, FOREIGN) if admission.intercepts(item)] == intercepted


@pytest.mark.parametrize(
    ("message", "own"),
    [
        (REFUSAL.format("validate.example.org"), True),
        (REFUSAL.format("webhook.cert-manager.io"), False),
        (CONVERSION.format("example.org/v1"), True),
        (CONVERSION.format("other.example.org/v1"), False),
        ('admission webhook "validate.example.org" denied the request: no', False),
    ],
)
def test_only_a_webhook_of_its_own_that_did_not_answer_is_waited_for(message: str, own: bool) -> None:
    given = [hook(rule("*")), definition("Widget", conversion={"strategy": "Webhook"})]
    assert Admission.of(given).unanswered(message) is own


@pytest.mark.parametrize(
    ("manifest", "completed"),
    [
        (hook(), True),
        (hook(rule("*")), True),
        (hook(rule("*"), caBundle="abc"), False),
        (hook(rule("*"), annotations={"cert-manager.io/inject-ca-from": "a/b"}), False),
        (WIDGET, False),
    ],
)
def test_whose_controller_completes_a_configuration(manifest: Manifest, completed: bool) -> None:
    assert completed_by_its_controller(manifest) is completed
