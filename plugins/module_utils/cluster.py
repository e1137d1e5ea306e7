# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one adapter to the Kubernetes API: raw JSON in and out, kubeconfig authentication by the official client."""

from __future__ import annotations

import base64
import functools
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast
from urllib.parse import urlencode

import urllib3
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from kubernetes import client, config
from kubernetes.config import kube_config
from kubernetes.stream import ws_client
from websocket import WebSocketException

FIELD_MANAGER = "mlops.platform"
DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

Object = dict[str, Any]
Objects = list[Object]
Lines = list[str]


class ApiError(PlatformError):
    """The API server refused a request; `status` is the HTTP status, 0 where no answer came."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Resource:
    """Where objects of one kind live: `apiVersion` as in manifests, the plural name, namespaced or not."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """The path of a collection, or of the object `name` in it."""
        root = "/apis/" if "/" in self.api_version else "/api/"
        within = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{root}{self.api_version}{within}/{self.plural}" + (f"/{name}" if name else "")


class Tunnel(NamedTuple):
    """A connection to a port of a pod; `error` tells why the pod's side did not take it, or ended it."""

    connection: socket.socket
    error: Callable[[], str]


class PortForward(ws_client.PortForward):
    """The client library's, which closes its end where the server ends the connection in the middle."""

    def _proxy(self) -> None:
        try:
            cast(Any, super())._proxy()
        except (OSError, WebSocketException) as error:
            for port in self.local_ports.values():
                port.error = port.error or str(error)
                port.python.close()


class Cluster:
    """One Kubernetes cluster as the user of a kubeconfig sees it.

    `warnings` are what the server warned of so far: deprecated versions, pods below their level of security.
    """

    def __init__(self, kubeconfig: str | None) -> None:
        self.kubeconfig = kubeconfig
        self.warnings: set[str] = set()
        try:
            self.api_client: client.ApiClient = config.new_client_from_config(config_file=kubeconfig)
        except (config.ConfigException, OSError, KeyError, TypeError) as error:
            missing = kubeconfig and not Path(kubeconfig).exists()
            reason = "there is no such file" if missing else str(error).removeprefix("Invalid kube-config file. ")
            raise PlatformError(
                f"platform_kubeconfig: {kubeconfig or 'the default kubeconfig'} cannot be used: {reason.rstrip('.')}; "
                "give the path of a kubeconfig with a current context"
            ) from error

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: object | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        timeout: float | tuple[float, float] = 30,
    ) -> Any:
        """Send one request and return the decoded JSON (or the text of what is not JSON).

        `timeout` is in seconds. Raises ApiError with the server's own message.
        """
        url = self.api_client.configuration.host + path + (f"?{urlencode(query)}" if query else "")
        headers = self._authorized({"Accept": accept, "Content-Type": content_type})
        return self._answer(
            lambda: self.api_client.rest_client.request(
                method, url, headers=headers, body=body, _request_timeout=timeout
            )
        )

    def _answer(self, send: Callable[[], Any]) -> Any:
        """What the server answers to a request; whatever keeps it from answering well becomes an ApiError."""
        try:
            response = send()
            raw = response.read()
            if not 200 <= response.status <= 299:
                raise ApiError(_server_message(raw) or f"{response.status} {response.reason}", response.status)
        except client.ApiException as error:
            raise ApiError(_server_message(error.body) or f"{error.status} {error.reason}", error.status) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            host = self.api_client.configuration.host
            raise ApiError(f"the Kubernetes API at {host} cannot be reached: {_root_cause(error)}", 0) from error
        self.warnings |= {_warning(line) for line in response.headers.getlist("Warning")}
        text = raw.decode("utf-8", "replace")
        try:
            return json.loads(text)
        except ValueError:  # a log, whatever it begins with
            return text

    @functools.cached_property
    def resources(self) -> dict[tuple[str, str], Resource]:
        """Every kind that the server knows, by (apiVersion, kind)."""
        found: dict[tuple[str, str], Resource] = {}
        for root in ("/api", "/apis"):
            for group in self.request("GET", root, accept=DISCOVERY)["items"]:
                group_name = group.get("metadata", {}).get("name", "")
                for version in group["versions"]:
                    api_version = f"{group_name}/{version['version']}" if group_name else version["version"]
                    for item in version.get("resources", []):
                        kind = item.get("responseKind", {}).get("kind")
                        if kind:
                            resource = Resource(api_version, kind, item["resource"], item["scope"] == "Namespaced")
                            found[(api_version, kind)] = resource
        return found

    def resource(self, api_version: str, kind: str) -> Resource:
        """The resource of a kind; ApiError 404 where the server does not know it."""
        if (api_version, kind) not in self.resources:
            self.forget_resources()  # a definition may have been applied since
        try:
            return self.resources[(api_version, kind)]
        except KeyError:
            raise ApiError(f"the cluster does not know {kind} of {api_version}", 404) from None

    def forget_resources(self) -> None:
        """Ask the server for its kinds again when they are needed next."""
        self.__dict__.pop("resources", None)

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """The object, or None where there is none."""
        try:
            found: Object = self.request("GET", self.resource(api_version, kind).path(namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        return found

    def list(self, api_version: str, kind: str, namespace: str | None = None, selector: str = "") -> Objects:
        """The objects of a kind (in one namespace, matching a label selector)."""
        return self._list(self.resource(api_version, kind).path(namespace), selector, "application/json")

    def list_metadata(self, resource: Resource, namespace: str | None, selector: str) -> Objects:
        """The metadata of the objects of a kind, without their content: cheap however large they are."""
        return self._list(resource.path(namespace), selector, METADATA_LIST)

    def _list(self, path: str, selector: str, accept: str) -> Objects:
        query = {"labelSelector": selector} if selector else None
        items: Objects | None = self.request("GET", path, query=query, accept=accept)["items"]
        return items or []  # the API server writes an empty list of metadata as null

    def apply(self, manifest: Object, dry_run: bool = False) -> Object:
        """Server-side apply of one object as our field manager; returns what the server made, or would make, of it."""
        metadata = manifest["metadata"]
        resource = self.resource(manifest["apiVersion"], manifest["kind"])
        applied: Object = self._answer(
            lambda: self._dynamic(resource).server_side_apply(
                manifest,
                metadata["name"],
                metadata.get("namespace"),
                force_conflicts=True,
                field_manager=FIELD_MANAGER,
                serialize=False,
                **({"dry_run": "All"} if dry_run else {}),
                _request_timeout=30,
            )
        )
        return applied

    def _dynamic(self, resource: Resource) -> Any:
        """A resource of kubernetes.core's client. Imported here: a run that changes nothing does not need it."""
        from kubernetes.dynamic.resource import Resource as DynamicResource

        group, _, version = resource.api_version.rpartition("/")
        return DynamicResource(
            prefix="apis" if group else "api",
            group=group,
            api_version=version,
            kind=resource.kind,
            namespaced=resource.namespaced,
            name=resource.plural,
            client=self._core,
        )

    @functools.cached_property
    def _core(self) -> Any:
        """The client of kubernetes.core, over our connection and without a discovery of its own."""
        from ansible_collections.kubernetes.core.plugins.module_utils.k8sdynamicclient import K8SDynamicClient

        return K8SDynamicClient(self.api_client, discoverer=lambda *_: None)

    def delete(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> bool:
        """Delete an object and what it owns; False where there was none."""
        try:
            self.request(
                "DELETE",
                self.resource(api_version, kind).path(namespace, name),
                body={"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"},
            )
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return True

    def secret(self, name: str, namespace: str) -> dict[str, str] | None:
        """The decoded values of a Secret, or None where there is none."""
        found = self.get("v1", "Secret", name, namespace)
        if found is None:
            return None
        return {key: base64.b64decode(value).decode() for key, value in (found.get("data") or {}).items()}

    def watch(self, path: str, resource_version: str, timeout: float, selector: str = "") -> Iterator[Object]:
        """The events of a collection since `resource_version`, for at most `timeout` seconds."""
        query = {"watch": "true", "resourceVersion": resource_version, "timeoutSeconds": max(1, int(timeout))}
        if selector:
            query["labelSelector"] = selector
        url = f"{self.api_client.configuration.host}{path}?{urlencode(query)}"
        headers = self._authorized({"Accept": METADATA_LIST.replace("MetadataList", "Metadata")})
        response = self.api_client.rest_client.pool_manager.request(
            "GET", url, headers=headers, preload_content=False, timeout=urllib3.Timeout(connect=5, read=timeout + 5)
        )
        try:
            for line in response:
                yield json.loads(line)
        finally:
            response.close()

    def tunnel(self, namespace: str, pod: str, port: int) -> Tunnel:
        """A connection to a port of a pod. Raises ApiError where the server does not make one."""
        # Not by the generated CoreV1Api: every worker would import its models anew, half a second of computing.
        url = f"{self.api_client.configuration.host}{self.resource('v1', 'Pod').path(namespace, pod)}/portforward"
        address = ws_client.get_websocket_url(url, [("ports", str(port))])
        try:
            websocket = ws_client.create_websocket(self.api_client.configuration, address, self._authorized({}))
        except (client.ApiException, WebSocketException, OSError) as error:
            raise ApiError(f"Pod {namespace}/{pod} port {port}: {error}", 0) from error
        forward = cast(Any, PortForward)(websocket, [port])
        end = forward.local_ports[port]
        return Tunnel(end.socket, lambda: end.error or "")

    def last_lines(self, pod: Mapping[str, Any], container: str, lines: int = 15, since: int = 0) -> Lines:
        """The last lines that a container wrote, before its restart where it ended.

        `since` leaves out what is older than so many seconds.
        """
        restarted = any(
            item["name"] == container and item.get("restartCount") and not item.get("ready")
            # One that has just ended is still there; of the one before it nothing is kept.
            and "terminated" not in (item.get("state") or {})
            for item in container_statuses(pod)
        )  # fmt: skip
        path = self.resource("v1", "Pod").path(pod["metadata"]["namespace"], pod["metadata"]["name"])
        query: dict[str, object] = {"container": container, "tailLines": lines, "previous": str(restarted).lower()}
        if since:
            query["sinceSeconds"] = since
        try:
            return str(self.request("GET", f"{path}/log", query=query)).splitlines()
        except ApiError as error:
            return [str(error)]

    def _authorized(self, headers: dict[str, str]) -> dict[str, str]:
        self.api_client.update_params_for_auth(headers, [], ["BearerToken"], "", "", None)
        return headers


def container_statuses(pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The statuses of a pod's containers, those that prepare it first."""
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


@functools.lru_cache(maxsize=4)
def connect(kubeconfig: str | None) -> Cluster:
    """The cluster of a kubeconfig; one client a process."""
    path = str(Path(kubeconfig).expanduser()) if kubeconfig else None
    return Cluster(path)


def disconnect() -> None:
    """Forget the clients of this process, and remove the files that they wrote for TLS.

    The client library copies the keys of a kubeconfig into temporary files and removes them when the process
    exits; Ansible's workers end without that.
    """
    connect.cache_clear()
    kube_config._cleanup_temp_files()


def _warning(header: str) -> str:
    """The text of a Warning header: 299 - "text", quotes in it escaped (RFC 7234, section 5.5)."""
    return header.partition('"')[2].rpartition('"')[0].replace('\\"', '"') or header


def _server_message(body: bytes | str | None) -> str:
    """What the API server said went wrong, from a Status object or plain text."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body or ""
    try:
        message = json.loads(text)["message"]
    except (ValueError, KeyError, TypeError):
        return text.strip()
    return str(message)


def _root_cause(error: BaseException) -> str:
    """The innermost reason of a chain of urllib3 errors."""
    reason = getattr(error, "reason", None)
    return _root_cause(reason) if isinstance(reason, BaseException) else str(error)
