"""The verbs of the Makefile: run a playbook, mind its exit status, open a shell on the platform.

Uses only what the project's environment has; run it with that environment's Python.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.prefix) / "bin"
CACHE = Path(os.environ.get("MLOPS_PLATFORM_CACHE") or Path.home() / ".cache" / "mlops-platform")
REPORTS = Path(os.environ.get("MLOPS_PLATFORM_REPORTS") or ROOT / "reports")
COULD_NOT_CHECK = REFUSED = 2
"""The exit status where there is no report of this run."""
REPEAT_SECONDS = 10
VERBS = ("preflight", "up", "site", "validate", "dashboards", "images", "down", "clean", "shell")
SHOW_CURSOR = "\x1b[?25h"

# What a shell needs to know of an inventory, as Ansible sees it.
FACTS = """{{ {'kubeconfig': platform_kubeconfig, 'namespace': mlflow_namespace | default(platform_namespace),
    'port': mlflow_port | default(5000), 'minio': minio_namespace | default(platform_namespace),
    's3': mlflow_s3_endpoint_url | default(''), 'region': mlflow_aws_default_region | default('us-east-1'),
    's3_secret': 'mlflow-aws' if mlflow_aws_access_key_id | default('')
                 else mlflow_aws_secret | default('minio-mlflow'),
    'authorities': platform_ca_certificates | mlops.platform.certificates,
    'kubectl': lookup('mlops.platform.image', 'kubernetes') if groups.local_cluster | default([]) else ''}
    | to_json }}"""


def environment() -> dict[str, str]:
    """The environment of every command: the project's programs first, its configuration, its reports."""
    return {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "MLOPS_PLATFORM_REPORTS": str(REPORTS),
        "MLOPS_PLATFORM_CACHE": str(CACHE),
    }


def one_at_a_time(verb: str) -> int:
    """Wait until no other run of the platform's playbooks is under way on this machine; says every ten seconds so.

    Returns the file descriptor that holds the lock; whoever inherits it holds the lock, too.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    lock = os.open(CACHE / "run.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        other = os.pread(lock, 1000, 0).decode(errors="replace") or "of the tests"
        with said_again(f"another run is under way on this machine ({other}): waiting for its end"):
            fcntl.flock(lock, fcntl.LOCK_EX)
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{verb} of {ROOT}, process {os.getpid()}".encode(), 0)
    return lock


@contextmanager
def said_again(message: str) -> Iterator[None]:
    """Print a message, and every ten seconds again with the seconds it has been true."""
    over = threading.Event()
    started = time.monotonic()
    print(message, flush=True)

    def say() -> None:
        while not over.wait(REPEAT_SECONDS):
            print(f"{message}, {time.monotonic() - started:.0f} s", flush=True)

    threading.Thread(target=say, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def playbook(name: str, inventory: str, options: list[str], *locks: int) -> int:
    """Run a playbook of the project, which holds the locks too; returns the status of ansible-playbook."""
    path = inventory if "/" in inventory else str(ROOT / "inventories" / inventory)
    command = [str(BIN / "ansible-playbook"), str(ROOT / "playbooks" / f"{name}.yml"), "-i", path, *options]
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is the playbook's to answer, which gets it, too
    status = subprocess.run(command, env=environment(), cwd=ROOT, check=False, pass_fds=locks).returncode
    if status < 0 and sys.stdout.isatty():
        print(SHOW_CURSOR, flush=True)  # somebody killed it while it drew
    return status


def run(arguments: argparse.Namespace) -> int:
    """Run the verb's playbook.

    `validate` ends with 0 healthy, 1 unhealthy, 2 could not check, `preflight` with 0 or 2. Those that change nothing,
    `preflight` and `dashboards`, wait for no other run.
    """
    if arguments.verb == "preflight":
        return REFUSED if playbook("preflight", arguments.inventory, arguments.options) else 0
    if arguments.verb == "dashboards":
        status = playbook("dashboards", arguments.inventory, arguments.options)
        if not status:
            print(f"  {os.path.relpath(REPORTS / 'latest' / 'dashboards.html')}")
        return status
    lock = one_at_a_time(arguments.verb)
    started = time.time()
    status = playbook(arguments.verb, arguments.inventory, arguments.options, lock)
    return checked_status(started) if arguments.verb == "validate" else status


def checked_status(started: float) -> int:
    """The exit status that the newest report gives, if it is of a run that began at `started` or later."""
    report = REPORTS / "latest" / "report.json"
    try:
        if report.stat().st_mtime >= started:
            return int(json.loads(report.read_text(encoding="utf-8"))["exit_status"])
    except (OSError, ValueError, KeyError):
        pass
    return COULD_NOT_CHECK


def shell(arguments: argparse.Namespace) -> int:
    """Open a shell with KUBECONFIG, MLFLOW_* and AWS_* set; services are forwarded as long as it is open."""
    sys.path.insert(0, str(ROOT / ".collections"))
    from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

    _AnsibleCollectionFinder(paths=[str(ROOT / ".collections")])._install()
    from ansible_collections.mlops.platform.plugins.module_utils.certificates import trusted
    from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Access, Service
    from ansible_collections.mlops.platform.plugins.module_utils.cluster import connect
    from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
    from ansible_collections.mlops.platform.plugins.module_utils.forward import Forwards

    facts = inventory_facts(arguments.inventory)
    try:
        cluster = connect(facts["kubeconfig"])
        with Forwards(cluster) as forwards, trusted(facts["authorities"]) as ca_file:
            access = Access(cluster, forwards, facts["namespace"])
            username, password = access.secret("mlflow-service", "username", "password")
            access_key, secret_key = access.secret(facts["s3_secret"], "access-key", "secret-key")
            variables = {
                "KUBECONFIG": str(Path(facts["kubeconfig"]).expanduser()),
                "MLFLOW_TRACKING_URI": access.url(Service("mlflow", int(facts["port"]))),
                "MLFLOW_TRACKING_USERNAME": username,
                "MLFLOW_TRACKING_PASSWORD": password,
                "AWS_ENDPOINT_URL": facts["s3"] or access.url(Service("minio", 9000, facts["minio"])),
                "AWS_ACCESS_KEY_ID": access_key,
                "AWS_SECRET_ACCESS_KEY": secret_key,
                "AWS_DEFAULT_REGION": facts["region"],
                "AWS_CA_BUNDLE": ca_file,
            }
            print(f"set here: {', '.join(variables)}; leave with exit", file=sys.stderr)
            path = os.pathsep.join(filter(None, [kubectl_directory(facts["kubectl"]), environment()["PATH"]]))
            command = arguments.options or [os.environ.get("SHELL", "/bin/sh")]
            return subprocess.run(command, env={**environment(), **variables, "PATH": path}, check=False).returncode
    except PlatformError as error:
        print(f"shell: {error}", file=sys.stderr)
        return COULD_NOT_CHECK


def inventory_facts(inventory: str, wanted: str = FACTS) -> dict[str, str]:
    """Variables of the inventory's components, templated by Ansible: `wanted` is an expression that gives JSON."""
    command = [str(BIN / "ansible"), "components", "--playbook-dir", str(ROOT / "playbooks"), "-m", "debug"]
    command += ["-i", inventory if "/" in inventory else str(ROOT / "inventories" / inventory), "-a", f"msg={wanted!r}"]
    variables = {**environment(), "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1", "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
    answer = subprocess.run(command, env=variables, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    hosts = json.loads(answer[answer.index("{") :])["plays"][0]["tasks"][0]["hosts"]
    facts: dict[str, str] = json.loads(next(iter(hosts.values()))["msg"])
    return facts


def kubectl_directory(program: str) -> str:
    """A folder in which `kubectl` is the embedded cluster's program; empty where there is none."""
    if not program:
        return ""
    folder = CACHE / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "kubectl"
    if not link.is_symlink() or str(link.readlink()) != program:
        link.unlink(missing_ok=True)
        link.symlink_to(program)
    return str(folder)


def main() -> int:
    """Parse the command line and run the verb."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", choices=VERBS)
    parser.add_argument("--inventory", default="local", help="a folder of inventories/, or a path")
    parser.epilog = "After -- come options of ansible-playbook, or the command that the shell runs."
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    arguments = parser.parse_args(sys.argv[1:split])
    arguments.options = sys.argv[split + 1 :]
    return shell(arguments) if arguments.verb == "shell" else run(arguments)


if __name__ == "__main__":
    sys.exit(main())
