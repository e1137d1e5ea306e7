# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""supervisord: its configuration files and its control socket."""

from __future__ import annotations

import hashlib
import http.client
import resource
import shlex
import socket
import xmlrpc.client
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MARKER = "MLOPS_PLATFORM_CLUSTER"  # environment variable of every process of a cluster; its value is the run directory
FAULT_NOT_RUNNING = 70
FAULT_ALREADY_STARTED = 60
RPC_SECONDS = 60


@dataclass(frozen=True)
class Program:
    """A process that supervisord keeps running.

    A change of any file in `inputs` restarts it, and so does a change of the command.
    """

    name: str
    command: tuple[str, ...]
    inputs: tuple[Path, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    position: int = 0  # programs are started in this order and stopped in the reverse one
    stop_seconds: int = 15


def daemon_config(run_dir: Path, log_dir: Path) -> str:
    """The main configuration of supervisord, which includes one file for each program."""
    return f"""\
[supervisord]
pidfile={run_dir}/supervisord.pid
logfile={log_dir}/supervisord.log
childlogdir={log_dir}
logfile_maxbytes=5MB
logfile_backups=1
minfds={_open_files()}

[unix_http_server]
file={run_dir}/supervisor.sock
chmod=0600

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[include]
files={run_dir}/programs/*.conf
"""


def program_config(program: Program, log_dir: Path) -> str:
    """The configuration of one program; it differs whenever the program must be restarted."""
    environment = {**program.environment, "MLOPS_PLATFORM_INPUTS": fingerprint(program.inputs)}
    variables = ",".join(f'{name}="{_escaped(value)}"' for name, value in sorted(environment.items()))
    return f"""\
[program:{program.name}]
command={_escaped(shlex.join(program.command))}
environment={variables}
directory=/
priority={program.position}
autostart=false
autorestart=true
startsecs=1
startretries=100
stopwaitsecs={program.stop_seconds}
redirect_stderr=true
stdout_logfile={log_file(log_dir, program.name)}
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=1
"""


def log_file(log_dir: Path, program: str) -> Path:
    """Where a program's output goes."""
    return log_dir / f"{program}.log"


def last_lines(path: Path, count: int = 15) -> str:
    """The last `count` lines of a log file."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - 64 * 1024))
            return "\n".join(stream.read().decode(errors="replace").splitlines()[-count:])
    except OSError:
        return "(it printed nothing)"


def fingerprint(paths: Iterable[Path]) -> str:
    """A short hash of the contents of files."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(str(path).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


class Supervisor:
    """A client of supervisord's control socket."""

    def __init__(self, socket_path: Path) -> None:
        self._rpc = xmlrpc.client.ServerProxy("http://supervisor", transport=_SocketTransport(socket_path))

    def alive(self) -> bool:
        """Whether a supervisord answers."""
        try:
            return bool(self._call("getState")["statename"] == "RUNNING")
        except (OSError, http.client.HTTPException):
            return False

    def update(self) -> list[str]:
        """Read the configuration again, drop what changed or went, add what is new; return their names.

        Nothing is started here.
        """
        [[added, changed, removed]] = self._call("reloadConfig")
        going = {*removed, *changed}
        for name in [name for name in self.stop_order() if name in going]:
            self.stop(name)
            self._call("removeProcessGroup", name)
        for name in [*changed, *added]:
            self._call("addProcessGroup", name)
        return sorted([*added, *changed, *removed])

    def states(self) -> dict[str, dict[str, Any]]:
        """What supervisord knows about each program: statename, pid, start (epoch seconds), ..."""
        return {info["name"]: info for info in self._call("getAllProcessInfo")}

    def stop_order(self) -> list[str]:
        """The names of all programs, the one to stop first first."""
        programs = self._call("getAllConfigInfo")
        return [info["name"] for info in sorted(programs, key=lambda info: -int(info["process_prio"]))]

    def start(self, name: str) -> None:
        """Start a program without waiting for it."""
        self._tolerant("startProcess", name, FAULT_ALREADY_STARTED)

    def stop(self, name: str) -> None:
        """Stop a program and wait until its process has ended."""
        self._tolerant("stopProcess", name, FAULT_NOT_RUNNING)

    def shutdown(self) -> None:
        """Ask supervisord to stop everything and end."""
        self._call("shutdown")

    def _tolerant(self, method: str, name: str, fault: int) -> None:
        try:
            self._call(method, name, method == "stopProcess")
        except xmlrpc.client.Fault as error:
            if error.faultCode != fault:
                raise

    def _call(self, method: str, *arguments: Any) -> Any:
        plain = [str(item) if isinstance(item, str) else item for item in arguments]  # without Ansible's tags
        return getattr(self._rpc.supervisor, method)(*plain)


class _SocketConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=RPC_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class _SocketTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        return _SocketConnection(self._path)


def _escaped(value: str) -> str:
    """Supervisord expands % in its configuration."""
    return value.replace("%", "%%")


def _open_files() -> int:
    """As many open files as this process may give, so that containers inherit a useful limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1048576 if hard == resource.RLIM_INFINITY else min(hard, 1048576)
