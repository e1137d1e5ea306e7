"""What goes wrong with cert-manager and the platform's certificate authority."""

from __future__ import annotations

from collections.abc import Iterator

from faults.faults import Fault, Inject, unguarded
from faults.platform import STRANGER, Platform, until

CERT_MANAGER = "cert-manager.io/v1"
RBAC = "rbac.authorization.k8s.io/v1"
WEBHOOKS = "admissionregistration.k8s.io/v1"


def scaled_away(name: str) -> Inject:
    """Somebody scales one of the programs to 0."""

    def inject(platform: Platform) -> Iterator[None]:
        here = platform.at("cert_manager")
        here.scale("Deployment", name, 0)
        until(lambda: not here.pods(name))
        yield

    return inject


def webhook_unreachable(platform: Platform) -> Iterator[None]:
    """Somebody edits the selector of the webhook's Service; connections that were there go on until its pod ends."""
    here = platform.at("cert_manager")
    spec = {"selector": {"app.kubernetes.io/name": "nobody"}}
    here.patch("v1", "Service", "cert-manager-webhook", {"spec": spec})
    here.restart("cert-manager-webhook")
    yield


def webhook_unasked(platform: Platform) -> Iterator[None]:
    """Somebody edits the rules by which the API server asks the webhook."""
    rules = [{"apiGroups": ["example.org"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["nothing"]}]
    hooks = [{"name": "webhook.cert-manager.io", "rules": rules}]
    platform.at("cert_manager").patch(
        WEBHOOKS, "ValidatingWebhookConfiguration", "cert-manager-webhook", {"webhooks": hooks}
    )
    yield


def key_is_none(platform: Platform) -> Iterator[None]:
    """Somebody leads the issuer to another Secret, whose key is none.

    In a Secret that it made itself cert-manager would have put it right before anybody looks.
    """
    here = platform.at("cert_manager")
    own = here.cluster.get("v1", "Secret", "platform-ca", here.namespace)
    assert own
    broken = {"apiVersion": "v1", "kind": "Secret", "type": own["type"], "data": own["data"] | {"tls.key": "bm9uZQ=="},
              "metadata": {"name": "broken-ca", "namespace": here.namespace}}  # fmt: skip
    here.cluster.apply(broken)
    try:
        issuer = {"spec": {"ca": {"secretName": "broken-ca"}}}
        path = here.cluster.resource(CERT_MANAGER, "ClusterIssuer").path(name="platform-ca")
        here.cluster.request("PATCH", path, body=issuer, content_type="application/merge-patch+json",
                             query={"fieldManager": STRANGER})  # fmt: skip
        yield
    finally:
        here.cluster.delete("v1", "Secret", "broken-ca", here.namespace)


def rights_taken(platform: Platform) -> Iterator[None]:
    """Somebody takes the controller's rights away."""
    nobody = [{"kind": "ServiceAccount", "name": "nobody", "namespace": platform.at("cert_manager").namespace}]
    platform.at("cert_manager").patch(RBAC, "ClusterRoleBinding", "cert-manager", {"subjects": nobody})
    yield


FAULTS: tuple[Fault, ...] = (
    Fault(
        "the authority's Secret has no key",
        "cert_manager", "certificate", "ClusterIssuer platform-ca is not Ready: .*key", key_is_none,
        alone=True,
    ),
    Fault(
        "the controller's rights are taken away",
        "cert_manager", "certificate", "is not Ready: .*forbidden", rights_taken,
        seconds=45, alone=True,
    ),
    Fault(
        "the controller is scaled to 0",
        "cert_manager", "rollout", "Deployment cert-manager/cert-manager: is scaled to 0 replicas",
        scaled_away("cert-manager"),
        alone=True,
    ),
    Fault(
        "the webhook is scaled to 0",
        "cert_manager", "rollout", "cert-manager-webhook: is scaled to 0 replicas",
        scaled_away("cert-manager-webhook"),
        alone=True,
    ),
    Fault(
        "the webhook's Service selects no pod",
        "cert_manager", "webhook", 'failed calling webhook "webhook.cert-manager.io".*no endpoints',
        webhook_unreachable,
        seconds=45, alone=True,
    ),
    Fault(
        "the API server does not ask the webhook",
        "cert_manager", "webhook", "the API server does not ask webhook.cert-manager.io", webhook_unasked,
        alone=True,
    ),
    unguarded("cert_manager"),
)  # fmt: skip
