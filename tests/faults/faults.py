"""What goes wrong with a platform, and how its validators must say so.

Each fault is a generator: it breaks something real in the running platform, yields, and takes back what the next run
of the platform would not put right by itself. Everything else is left to that run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils.cluster import Object
from ansible_collections.mlops.platform.plugins.module_utils.manifests import COMPONENT_LABEL
from ansible_collections.mlops.platform.plugins.module_utils.rollout import CRASHES_UNTIL_FINAL
from faults import proxy
from faults.platform import Platform, until

Inject = Callable[[Platform], Iterator[None]]
MLFLOW = "run, model, alias and artifact"


@dataclass(frozen=True)
class Fault:
    """One thing that is broken, and the check of `component` that must say so, in words that match `cause`.

    `others` are further checks that must see it, of this and other components: (component, check, cause).
    `seconds` is how long the report may take, from the moment at which the fault is final.
    """

    name: str
    component: str
    check: str
    cause: str
    inject: Inject
    others: tuple[tuple[str, str, str], ...] = ()
    seconds: float = 30
    alone: bool = False
    """Whether faults of other components would see it, so that it must be in force alone."""

    @property
    def expected(self) -> list[tuple[str, str, str]]:
        """All (component, check, cause) that the fault must lead to."""
        return [(self.component, self.check, self.cause), *self.others]

    def __str__(self) -> str:
        return f"{self.component}: {self.name}"


# Logins and rights


def minio_key_changed(platform: Platform) -> Iterator[None]:
    """Somebody gives MinIO's user another key than the one in its Secret."""
    with platform.minio() as (_, admin):
        admin.user_add("mlflow", "another-key-than-the-one-in-the-secret")
    yield


def minio_policy(*, actions: list[str], bucket: str, consumer: str = "mlflow") -> Inject:
    """Somebody rewrites the policy of one of MinIO's consumers."""

    def inject(platform: Platform) -> Iterator[None]:
        resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
        statement = {"Effect": "Allow", "Action": actions, "Resource": resources}
        with platform.minio() as (_, admin):
            admin.policy_add(consumer, policy={"Version": "2012-10-17", "Statement": [statement]})
        yield

    return inject


def bucket_deleted(platform: Platform) -> Iterator[None]:
    """Somebody deletes the bucket of the artifacts."""
    with platform.minio() as (s3, _):
        for item in s3.list_objects("mlflow-artifacts", recursive=True, include_version=True):
            s3.remove_object("mlflow-artifacts", item.object_name, item.version_id)
        s3.remove_bucket("mlflow-artifacts")
    yield


def sql(*statements: str, undo: tuple[str, ...] = (), database: str = "postgres") -> Inject:
    """Somebody changes the database as its superuser; `undo` is what no run would do by itself."""

    def inject(platform: Platform) -> Iterator[None]:
        platform.sql(*statements, database=database)
        yield
        platform.sql(*undo, database=database)

    return inject


def secret_deleted(name: str) -> Inject:
    """Somebody deletes a Secret."""

    def inject(platform: Platform) -> Iterator[None]:
        assert platform.cluster.delete("v1", "Secret", name, platform.namespace)
        yield

    return inject


def mlflow_password_changed(platform: Platform) -> Iterator[None]:
    """Somebody changes the password of MLflow's service user in MLflow."""
    from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Service
    from ansible_collections.mlops.platform.plugins.module_utils.checks.mlflow import MlflowApi

    with platform.access() as access:
        admin = MlflowApi(access.url(Service("mlflow", 5000)), *access.secret("mlflow-admin", "username", "password"))
        admin.call("PATCH", "users/update-password", username="mlflow-service", password="another-password-than-that")
    yield


def every_login_trusted(platform: Platform) -> Iterator[None]:
    """Somebody lets everybody into PostgreSQL without a password."""
    rules = "local all all trust\nhost all all all trust\n"
    platform.patch("v1", "ConfigMap", "postgresql", {"data": {"pg_hba.conf": rules}})
    platform.restart("postgresql")
    yield
    platform.repair("postgresql")
    platform.restart("postgresql")


# The network


def service(name: str, *, selector: dict[str, str] | None = None, port: dict[str, Any] | None = None) -> Inject:
    """Somebody edits a Service."""

    def inject(platform: Platform) -> Iterator[None]:
        spec = {"selector": selector} if selector else {"ports": [port]}
        platform.patch("v1", "Service", name, {"spec": spec})
        yield

    return inject


def bytes_corrupted(platform: Platform) -> Iterator[None]:
    """A proxy before MinIO changes a byte of every object on its way back."""
    platform.cluster.apply(proxy.pod(platform))
    until(lambda: proxy.is_ready(platform))
    platform.patch("v1", "Service", "minio", {"spec": {"selector": proxy.LABELS}})
    proxy.await_endpoint(platform)
    platform.restart("mlflow")  # its open connections still lead to MinIO
    yield
    platform.cluster.delete("v1", "Pod", proxy.NAME, platform.namespace)


def unguarded(component: str, seconds: float = 60) -> Fault:
    """Somebody deletes the NetworkPolicies of a component: everybody gets in, and what lets clients in is not there."""

    def inject(platform: Platform) -> Iterator[None]:
        api, cluster = ("networking.k8s.io/v1", "NetworkPolicy"), platform.cluster
        found = [
            (item["metadata"]["name"], space)
            for space in platform.components[component].spaces
            for item in cluster.list(*api, space, f"{COMPONENT_LABEL}={component}")
        ]
        assert found
        for name, space in found:
            cluster.delete(*api, name, space)
        yield

    others = ((component, "who may is let in", "is not there; a pod in .* reaches"),)
    cause = "NetworkPolicy .*-default-deny is not there; a pod in .* reaches"
    return Fault("its NetworkPolicies are deleted", component, "strangers are refused", cause, inject, others, seconds)


# Pods


def scaled_to_nothing(kind: str, name: str) -> Inject:
    """Somebody scales a workload to 0."""

    def inject(platform: Platform) -> Iterator[None]:
        platform.scale(kind, name, 0)
        yield

    return inject


def image_missing(kind: str, name: str) -> Inject:
    """Somebody sets an image that is not in the registry."""

    def inject(platform: Platform) -> Iterator[None]:
        image = platform.container(name, kind)["image"].rpartition(":")[0]
        platform.patch_container(kind, name, image=f"{image}:there-is-none")
        yield

    return inject


def crash_loop(platform: Platform) -> Iterator[None]:
    """Somebody sends PostgreSQL to a folder without its configuration."""
    nowhere = {"name": "POSTGRES_CONFIG_DIR", "value": "/nowhere"}
    platform.patch_container("StatefulSet", "postgresql", env=[nowhere])
    until(lambda: any(map(crashed_often, platform.pods("postgresql"))))
    yield


def crashed_often(pod: Object) -> bool:
    """Whether a pod has crashed so often that it does not count as bad luck."""
    states = pod["status"].get("containerStatuses") or []
    return any(state["restartCount"] >= CRASHES_UNTIL_FINAL for state in states)


def pod_security(kind: str, name: str) -> Inject:
    """Somebody asks for a container that the namespace does not admit."""

    def inject(platform: Platform) -> Iterator[None]:
        platform.patch_container(kind, name, securityContext={"allowPrivilegeEscalation": True})
        yield

    return inject


def mlflow_server(*, without: tuple[str, ...] = (), allowed_hosts: str = "") -> Inject:
    """Somebody starts MLflow's server with other arguments: `without` some options, or for other host names."""

    def inject(platform: Platform) -> Iterator[None]:
        arguments: list[str] = list(platform.container("mlflow", "Deployment")["args"])
        for option in without:
            place = arguments.index(option)
            del arguments[place : place + 2]
        if allowed_hosts:
            arguments[arguments.index("--allowed-hosts") + 1] = allowed_hosts
        before = {pod["metadata"]["uid"] for pod in platform.pods("mlflow")}
        platform.patch_container("Deployment", "mlflow", args=arguments)
        until(lambda: not before & {pod["metadata"]["uid"] for pod in platform.pods("mlflow")})
        yield

    return inject


# Volumes


def volume_full(name: str, megabytes: int) -> Inject:
    """The volume of a component is full to the last byte."""

    def inject(platform: Platform) -> Iterator[None]:
        with platform.small_volume(name, megabytes) as directory:
            filler = directory / "filler"
            fill(filler)
            yield
            filler.unlink()

    return inject


def fill(path: Path) -> None:
    """Write a file until there is no space left for another byte."""
    for size in (1 << 20, 1):
        with contextlib.suppress(OSError), path.open("ab", buffering=0) as stream:
            while True:
                stream.write(b"\0" * size)


ROUNDS: tuple[tuple[Fault, ...], ...] = (
    # The faults of one round do not see each other: they are in force at the same time.
    (unguarded("minio"), unguarded("postgresql"), unguarded("mlflow")),
    (
        Fault(
            "the user's key is not the one in its Secret",
            "minio", "mlflow uses its buckets", "SignatureDoesNotMatch", minio_key_changed,
        ),
        Fault(
            "an extension is missing",
            "postgresql", "extensions of mlflow", "extensions that are missing: uuid-ossp",
            sql('DROP EXTENSION "uuid-ossp"', database="mlflow"),
        ),
        Fault(
            "the password is not the one in its Secret",
            "mlflow", "version", "answered 401", mlflow_password_changed,
        ),
    ),
    (
        Fault(
            "a policy allows more than the consumer's own",
            "minio", "mlflow is refused elsewhere", "not refused: .*datasets: written",
            minio_policy(actions=["s3:*"], bucket="*"),
        ),
        Fault(
            "a policy lets a reader write",
            "minio", "models uses its buckets", "mlflow-artifacts: a key that is to read alone may write: written",
            minio_policy(actions=["s3:*"], bucket="mlflow-artifacts", consumer="models"),
        ),
        Fault(
            "the role's password is not the one in its Secret",
            "postgresql", "mlflow writes and rolls back", "password authentication failed for user",
            sql("ALTER ROLE mlflow PASSWORD 'another-than-the-one-in-the-secret'"),
        ),
        Fault(
            "a policy lets a writer read",
            "minio", "model-inputs uses its buckets", "model-inputs: a key that is to write alone may read",
            minio_policy(actions=["s3:*"], bucket="model-inputs", consumer="model-inputs"),
        ),
        Fault(
            "a policy lets who compares into other buckets",
            "minio", "drift is refused elsewhere", "not refused: .*datasets: written",
            minio_policy(actions=["s3:*"], bucket="*", consumer="drift"),
        ),
        Fault(
            "the Service leads to a port where nobody listens",
            "mlflow", "health", "port 5999 of pod mlflow-.*connection refused",
            service("mlflow", port={"port": 5000, "targetPort": 5999}),
        ),
    ),
    (
        Fault(
            "a policy allows less than it must",
            "minio", "mlflow uses its buckets", "AccessDenied.*PutObject",
            minio_policy(actions=["s3:GetObject", "s3:ListBucket"], bucket="mlflow-artifacts"),
        ),
        Fault(
            "a policy lets a reader into other buckets",
            "minio", "models is refused elsewhere", "not refused: .*datasets: written",
            minio_policy(actions=["s3:*"], bucket="datasets", consumer="models"),
        ),
        Fault(
            "a policy lets a writer into other buckets",
            "minio", "model-inputs is refused elsewhere", "not refused: .*datasets: written",
            minio_policy(actions=["s3:PutObject"], bucket="*", consumer="model-inputs"),
        ),
        Fault(
            "a policy keeps who compares from its reports",
            "minio", "drift uses its buckets", "AccessDenied.*PutObject",
            minio_policy(actions=["s3:*"], bucket="model-inputs", consumer="drift"),
        ),
        Fault(
            "a setting is not the one asked for",
            "postgresql", "settings", "work_mem is 64MB, not 4MB",
            sql("ALTER SYSTEM SET work_mem = '64MB'", "SELECT pg_reload_conf()",
                undo=("ALTER SYSTEM RESET work_mem", "SELECT pg_reload_conf()")),
        ),
        Fault(
            "the role owns its database no more",
            "postgresql", "mlflow writes and rolls back", "permission denied",
            sql("ALTER DATABASE mlflow OWNER TO postgres", "REVOKE ALL ON DATABASE mlflow FROM mlflow"),
        ),
        Fault(
            "a Secret is deleted",
            "mlflow", "version", "Secret faults/mlflow-service does not exist", secret_deleted("mlflow-service"),
        ),
    ),
    (
        Fault(
            "the Service of the console leads to a port where nobody listens",
            "minio", "console", "port 9999 of pod minio-0.*connection refused",
            service("minio-console", port={"port": 9001, "targetPort": 9999}),
        ),
        Fault(
            "the database takes no writes",
            "postgresql", "mlflow writes and rolls back", "cannot execute CREATE TABLE in a read-only transaction",
            sql("ALTER DATABASE mlflow SET default_transaction_read_only = on",
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'mlflow'",
                undo=("ALTER DATABASE mlflow RESET default_transaction_read_only",
                      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'mlflow'")),
            others=(("mlflow", MLFLOW, "read-only transaction"),),
        ),
    ),
    (
        Fault(
            "the bucket is deleted",
            "minio", "mlflow uses its buckets", "NoSuchBucket", bucket_deleted,
            others=(("mlflow", MLFLOW, "NoSuchBucket"),),
        ),
    ),
    (
        Fault(
            "the Service selects no pod",
            "minio", "quorum", "no pod has its selector app.kubernetes.io/name=mini0",
            service("minio", selector={"app.kubernetes.io/name": "mini0"}),
        ),
        Fault(
            "everybody is let in without a password",
            "postgresql", "mlflow needs its password", "'no password': 'let in'", every_login_trusted,
        ),
        Fault(
            "the image cannot be pulled",
            "mlflow", "rollout", "ImagePullBackOff.*there-is-none", image_missing("Deployment", "mlflow"),
        ),
    ),
    (
        Fault(
            "the stored bytes come back changed",
            "minio", "mlflow uses its buckets", "bytes read back are not those written|checksum", bytes_corrupted,
            others=(("mlflow", MLFLOW, "bytes downloaded are not those uploaded|checksum"),),
        ),
    ),
    (
        Fault(
            "the namespace does not admit its pod",
            "minio", "rollout", "violates PodSecurity", pod_security("StatefulSet", "minio"),
        ),
        Fault(
            "it crashes again and again",
            "postgresql", "rollout", "crashed \\d+ times.*/nowhere/postgresql.conf.*No such file", crash_loop,
        ),
        Fault(
            "it is scaled to 0",
            "mlflow", "rollout", "scaled to 0 replicas", scaled_to_nothing("Deployment", "mlflow"),
        ),
    ),
    (
        Fault(
            "the volume is full",
            "minio", "mlflow uses its buckets", "XMinioStorageFull|minimum free drive", volume_full("minio", 64),
        ),
        Fault(
            "the volume is full",
            "postgresql", "mlflow writes and rolls back", "No space left on device", volume_full("postgresql", 96),
        ),
    ),
    (
        Fault(
            "it is scaled to 0",
            "minio", "rollout", "scaled to 0 replicas", scaled_to_nothing("StatefulSet", "minio"),
        ),
        Fault(
            "the server asks for no password and tells no metrics",
            "mlflow", "logins are refused", "a wrong password and none were answered with 200 and 200",
            mlflow_server(without=("--app-name", "--expose-prometheus")),
            others=(("mlflow", "metrics", "mlflow_http_request_total|answered 404"),),
        ),
    ),
    (
        Fault(
            "the server answers for other host names only",
            "mlflow", MLFLOW, "Invalid Host header", mlflow_server(allowed_hosts="mlflow.example.org"),
        ),
    ),
)  # fmt: skip
