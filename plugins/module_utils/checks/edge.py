# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge: a host answers through the Gateway as it does for people outside, by TLS that they can verify."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import urllib3
from ansible_collections.mlops.platform.plugins.module_utils import gateway
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import (
    REQUEST_SECONDS,
    Access,
    Check,
    CheckFailed,
    Service,
)
from ansible_collections.mlops.platform.plugins.module_utils.cluster import Object
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.forward import NobodyReady


@dataclass(frozen=True)
class EdgeCheck(Check):
    """GET `path` of `host` through the Gateway `service`; the answer has `status`, and `contains` in its body.

    The request goes to the proxies behind the Gateway, by a port-forward where they are in the cluster; name and
    certificate are those that people outside use and see. `route` (in the component's namespace) is asked for its
    complaints where that fails. `issuer` is the ClusterIssuer (of the cert-manager in `issuer_namespace`)
    whose authority is trusted besides the public ones.
    With `plain` it is HTTP, and the answer must redirect to HTTPS with `status`. `basic_auth` names a Secret with
    `username` and `password`. On OpenShift (`openshift`) a router takes the Gateway's place, and `route` is a Route.
    """

    service: Service
    host: str
    path: str = "/"
    status: int = 200
    contains: str = ""
    route: str = ""
    issuer: str = ""
    issuer_namespace: str = ""
    basic_auth: str = ""
    plain: bool = False
    openshift: bool = False

    @property
    def target(self) -> str:
        return f"{'http' if self.plain else 'https'}://{self.host}{self.path}"

    def run(self, access: Access) -> tuple[object, object]:
        headers = {"Host": self.host, "Connection": "close"}
        if self.basic_auth:
            username, password = access.secret(self.basic_auth, "username", "password")
            headers |= urllib3.make_headers(basic_auth=f"{username}:{password}")
        with self.connections(access) as pool:
            answer = pool.request("GET", self.path, headers=headers, timeout=REQUEST_SECONDS, redirect=False)
        return self._redirected(answer) if self.plain else self._answered(access, answer)

    @contextmanager
    def connections(self, access: Access, at_once: int = 1) -> Iterator[urllib3.HTTPConnectionPool]:
        """Connections to the edge that ask for the check's host, `at_once` of them; requests need its header Host.

        What fails to connect is told with its cause: as CheckFailed what Gateway, route or certificate are to blame
        for, as PlatformError what leads to no proxy.
        """
        behind: Service | None = None
        try:
            address, port, behind = self._place(access)
            trusted = None if self.plain else self._trusted(access)
            with gateway.connections(address, port, self.host, trusted, at_once) as pool:
                yield pool
        except urllib3.exceptions.SSLError as error:
            said = f"{self.target}: {_words(error)}"
            raise self._failure(access, said, "no TLS", f"a certificate for {self.host}") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            reason = (behind and access.trouble(behind)) or error
            if isinstance(reason, PlatformError) or not self._complaints(access):
                raise reason from error
            raise self._failure(access, f"{self.target}: {_words(error)}", "no answer", self.status) from error

    def _redirected(self, answer: urllib3.BaseHTTPResponse) -> tuple[object, object]:
        """The outcome of a plain request."""
        place, safe = str(answer.headers.get("Location", "")), f"https://{self.host}"
        observed = f"{answer.status} {place}".rstrip()
        if answer.status != self.status or not place.startswith(safe):
            wanted = f"{self.status} {safe}"
            raise CheckFailed(f"{self.target} is not redirected to HTTPS, but answered {observed}", observed, wanted)
        return observed, f"{self.status} {safe}"

    def _answered(self, access: Access, answer: urllib3.BaseHTTPResponse) -> tuple[object, object]:
        """The outcome of a request by TLS."""
        body = answer.data.decode("utf-8", "replace")
        if answer.status != self.status:
            said = f"{self.target} answered {answer.status}: {body[:200]}"
            raise self._failure(access, said, answer.status, self.status)
        if self.contains not in body:
            raise CheckFailed(f"{self.target} answered without {self.contains!r}", body[:200], self.contains)
        if complaints := self._complaints(access):
            raise self._failure(access, f"{self.target} answers", complaints, "no complaints")
        return answer.status, self.status

    def _place(self, access: Access) -> tuple[str, int, Service | None]:
        """Where the edge answers this machine, and the Service behind which it is in the cluster.

        Raises PlatformError where there is no way to it.
        """
        if self.openshift:
            return gateway.router(access.cluster, self.route, access.namespace), 80 if self.plain else 443, None
        name, namespace = self._gateway(access)
        found = gateway.gateway(access.cluster, name, namespace)
        port = gateway.port(found, "HTTP" if self.plain else "HTTPS")
        behind = gateway.service(access.cluster, name, namespace)
        if behind is None:
            outside = gateway.addresses(found)
            if not outside:
                raise NobodyReady(self._told(access, f"Gateway {namespace}/{name} has no address"))
            return outside[0], port, None
        service = Service(behind["metadata"]["name"], port, behind["metadata"]["namespace"])
        try:
            return *access.address(service), service
        except PlatformError as error:
            raise type(error)(self._told(access, str(error))) from error

    def _gateway(self, access: Access) -> tuple[str, str]:
        return self.service.name, self.service.namespace or access.namespace

    def _trusted(self, access: Access) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=access.ca_file or None)
        if certificates := gateway.authority(access.cluster, self.issuer, self.issuer_namespace):
            context.load_verify_locations(cadata=certificates)
        return context

    def _complaints(self, access: Access) -> list[str]:
        """What is wrong with Gateway and route by their own word, and what nobody has looked at yet."""
        if self.openshift:
            return []
        found, route = self._objects(access)
        behind = gateway.service(access.cluster, *self._gateway(access))
        missing = [f"HTTPRoute {access.namespace}/{self.route} does not exist"] if self.route and not route else []
        return [*missing, *filter(None, [gateway.unseen(found, route)]), *gateway.complaints(found, route, behind)]

    def _objects(self, access: Access) -> tuple[Object, Object | None]:
        """The Gateway, and the route where the check names one that is there."""
        found = gateway.gateway(access.cluster, *self._gateway(access))
        name = self.route
        return found, access.cluster.get(gateway.API, "HTTPRoute", name, access.namespace) if name else None

    def _told(self, access: Access, words: str) -> str:
        """A message with what Gateway and route complain of, which comes first: it is the cause."""
        return "; ".join([*self._complaints(access), words])

    def _failure(self, access: Access, words: str, observed: object, expected: object) -> Exception:
        """A failed check; what its controller has not looked at yet may still become what it must be."""
        told = self._told(access, words)
        if not self.openshift and gateway.unseen(*self._objects(access)):
            return NobodyReady(told)
        return CheckFailed(told, observed, expected)


def _words(error: Exception) -> str:
    return " ".join(str(error.args[-1] if error.args else error).split())
