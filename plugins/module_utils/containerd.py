# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""containerd's configuration with one runtime more, and all else as it was.

A file that is imported replaces whole plugins before containerd 2.0 (https://github.com/containerd/containerd/issues/5837),
so that one that adds a runtime has to repeat what the others say of the plugin.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError

PLUGINS = {2: "io.containerd.grpc.v1.cri", 3: "io.containerd.cri.v1.runtime"}
"""What runs containers for Kubernetes, by the version of the configuration."""
RUNC = "io.containerd.runc.v2"
NVIDIA = "/usr/bin/nvidia-container-runtime"
"""Where NVIDIA's container toolkit has its runtime, which is runc's with a step before."""
SPECS = ["/etc/cdi", "/var/run/cdi"]
"""Where containerd looks for devices by name (CDI)."""
IMPORTS = re.compile(r"^imports[ \t]*=[ \t]*\[.*?\][ \t]*\n?", re.MULTILINE | re.DOTALL)
BARE = re.compile(r"[A-Za-z0-9_-]+")


def with_import(text: str, path: str) -> str:
    """The main configuration, which imports the file at `path` besides what it imports already.

    It is imported by a pattern: a file that is named and not there would keep containerd from its start.
    """
    imports: list[str] = list(parsed(text).get("imports") or [])
    if any(fnmatch(path, pattern) for pattern in imports):
        return text
    line = f"imports = {json.dumps([*imports, path.removesuffix('.toml') + '*.toml'])}\n"
    if imports or IMPORTS.search(text):
        return IMPORTS.sub(lambda _: line, text, count=1)
    # What belongs to no table stands before all tables.
    return line + (text or "version = 2\n")


def with_nvidia(text: str) -> str:
    """The file that adds NVIDIA's runtime, and devices by name, to what the main configuration `text` says."""
    main = parsed(text)
    version = int(main.get("version", 2))
    name = PLUGINS[version]
    plugin: dict[str, Any] = json.loads(json.dumps((main.get("plugins") or {}).get(name) or {}))
    runtimes = plugin.setdefault("containerd", {}).setdefault("runtimes", {})
    plain = runtimes.setdefault("runc", {"runtime_type": RUNC})
    runtimes["nvidia"] = {
        **plain,
        "runtime_type": RUNC,
        "options": {**(plain.get("options") or {}), "BinaryName": NVIDIA},
    }
    # Pods that are given a GPU need not say so twice; what has none is run by runc, as before.
    plugin["containerd"]["default_runtime_name"] = "nvidia"
    plugin |= {"enable_cdi": True, "cdi_spec_dirs": plugin.get("cdi_spec_dirs") or SPECS}
    return "\n".join(_lines({"version": version, "plugins": {name: plugin}})).strip() + "\n"


def parsed(text: str) -> dict[str, Any]:
    """A configuration. Raises PlatformError for what is none, or is of a version that is not known."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PlatformError(f"containerd's configuration is not TOML: {error}") from error
    version = found.get("version", 2 if not text.strip() else 1)
    if version not in PLUGINS:
        known = " and ".join(map(str, PLUGINS))
        raise PlatformError(f"containerd's configuration is of version {version}; known are {known}: migrate it first")
    return found


def _lines(table: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """A table as TOML: its own values, then its tables."""
    inner = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    own = {key: value for key, value in table.items() if key not in inner}
    if path and (own or not inner):
        yield f"\n[{path}]"
    for key, value in own.items():
        yield f"{_key(key)} = {_value(value)}"
    for key, value in inner.items():
        yield from _lines(value, f"{path}.{_key(key)}" if path else _key(key))


def _key(key: str) -> str:
    return key if BARE.fullmatch(key) else json.dumps(key)


def _value(value: Any) -> str:
    """A value as TOML has it, which for texts, numbers and truths is as JSON has it."""
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_key(key)} = {_value(item)}' for key, item in value.items())}}}"
    return json.dumps(value, ensure_ascii=False)
