"""Hosts with GPUs, as far as it goes without one: what they say of themselves, and files that their readers read."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.mlops.platform.plugins.module_utils import containerd, gpu_host
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles" / "gpu_node"
DROP_IN = "/etc/containerd/conf.d/99-nvidia.toml"
VERSIONS = (
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\nGCC version:  12.2.0",
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build  (dvs-builder)",
)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def device(root: Path, address: str, vendor: str, kind: str) -> None:
    write(root / "sys/bus/pci/devices" / address / "vendor", f"{vendor}\n")
    write(root / "sys/bus/pci/devices" / address / "class", f"{kind}\n")


def test_a_machine_without_gpus_says_so(tmp_path: Path) -> None:
    device(tmp_path, "0000:00:02.0", "0x8086", "0x030000")
    # The audio of a graphics card computes nothing.
    device(tmp_path, "0000:01:00.1", "0x10de", "0x040300")
    assert gpu_host.found(tmp_path) == {"devices": [], "driver": "", "products": []}


@pytest.mark.parametrize(("text", "version"), list(zip(VERSIONS, ("550.54.15", "570.86.15"), strict=True)))
def test_devices_driver_and_products_are_told(tmp_path: Path, text: str, version: str) -> None:
    for number in range(2):
        device(tmp_path, f"0000:0{number}:00.0", "0x10de", "0x030200")
        information = f"Model: \t\t NVIDIA A100-SXM4-40GB\nIRQ:   \t\t {number}\n"
        write(tmp_path / f"proc/driver/nvidia/gpus/0000:0{number}:00.0/information", information)
    write(tmp_path / "proc/driver/nvidia/version", text)
    assert gpu_host.found(tmp_path) == {
        "devices": ["0000:00:00.0", "0000:01:00.0"],
        "driver": version,
        "products": ["NVIDIA-A100-SXM4-40GB"] * 2,
    }


OWN = """version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.example.org/pause:3"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "/etc/containerd/certs.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = true
"""
IMPORTING = 'imports = [\n  "/etc/containerd/registry/*.toml",\n]\n' + OWN
CONTAINERD = shutil.which("containerd")


def runtimes(config: dict[str, Any]) -> dict[str, Any]:
    plugins = config["plugins"]
    (found,) = [plugins[name] for name in containerd.PLUGINS.values() if name in plugins]
    found_runtimes: dict[str, Any] = found["containerd"]["runtimes"]
    return found_runtimes


@pytest.mark.parametrize("text", [OWN, IMPORTING, "", 'version = 3\n[plugins."io.containerd.cri.v1.runtime"]\n'])
def test_the_runtime_is_added_and_all_else_stays(text: str) -> None:
    config = tomllib.loads(containerd.with_nvidia(text))
    assert set(runtimes(config)) == {"runc", "nvidia"}
    assert runtimes(config)["nvidia"]["options"]["BinaryName"] == containerd.NVIDIA
    assert "BinaryName" not in runtimes(config)["runc"].get("options", {})
    plugin = next(iter(config["plugins"].values()))
    assert plugin["containerd"]["default_runtime_name"] == "nvidia"
    assert plugin["enable_cdi"] is True
    before = tomllib.loads(text).get("plugins", {}).get("io.containerd.grpc.v1.cri", {})
    assert {key: plugin[key] for key in before if key != "containerd"} == {
        key: value for key, value in before.items() if key != "containerd"
    }


@pytest.mark.parametrize("text", [OWN, IMPORTING, ""])
def test_the_import_is_added_once(text: str) -> None:
    added = containerd.with_import(text, DROP_IN)
    before = tomllib.loads(text).get("imports", [])
    assert tomllib.loads(added)["imports"] == [*before, "/etc/containerd/conf.d/99-nvidia*.toml"]
    assert {**tomllib.loads(added), "imports": before} == {"version": 2, **tomllib.loads(text), "imports": before}
    assert containerd.with_import(added, DROP_IN) == added
    general = 'imports = ["/etc/containerd/conf.d/*.toml"]\nversion = 3\n'
    assert containerd.with_import(general, DROP_IN) == general


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version = 1\n", "is of version 1; known are 2 and 3: migrate it first"),
        ("[plugins]\n", "is of version 1"),
        ("version = \n", "is not TOML"),
    ],
)
def test_what_is_no_configuration_is_refused(text: str, said: str) -> None:
    with pytest.raises(PlatformError, match=said):
        containerd.with_nvidia(text)


@pytest.mark.skipif(CONTAINERD is None, reason="containerd itself reads it here")
@pytest.mark.parametrize("text", [OWN, ""])
def test_containerd_reads_it_as_it_is_meant(tmp_path: Path, text: str) -> None:
    drop_in, main = tmp_path / "conf.d" / "99-nvidia.toml", tmp_path / "config.toml"
    write(drop_in, containerd.with_nvidia(text))
    write(main, containerd.with_import(text, str(drop_in)))

    def cri() -> dict[str, Any]:
        command = [str(CONTAINERD), "--config", str(main), "config", "dump"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        plugins = tomllib.loads(done.stdout)["plugins"]
        return next(plugins[name] for name in containerd.PLUGINS.values() if name in plugins)

    plugin = cri()
    assert set(plugin["containerd"]["runtimes"]) == {"runc", "nvidia"}
    assert plugin["containerd"]["runtimes"]["nvidia"]["options"]["BinaryName"] == containerd.NVIDIA
    if text:
        assert plugin["cni"]["bin_dir"] == "/usr/lib/cni"
        assert plugin["registry"]["config_path"] == "/etc/containerd/certs.d"
    # Taken away again it hinders nobody.
    drop_in.unlink()
    assert set(cri()["containerd"]["runtimes"]) == {"runc"}


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="apt itself reads it here")
@pytest.mark.parametrize("url", ["", "https://apt.example.org/nvidia/$(ARCH)"])
def test_apt_reads_its_source(tmp_path: Path, url: str) -> None:
    loader = DataLoader()
    variables = {
        **loader.load_from_file(str(ROLE / "defaults" / "main.yml"), trusted_as_template=True),
        **loader.load_from_file(str(ROLE / "vars" / "main.yml"), trusted_as_template=True),
    }
    if url:
        variables["gpu_node_toolkit_apt_url"] = url
    text = (ROLE / "templates" / "host" / "toolkit.sources.j2").read_text(encoding="utf-8")
    rendered = Templar(loader, variables=variables).template(trust_as_template(text))
    write(tmp_path / "parts" / "nvidia.sources", str(rendered))
    (tmp_path / "empty.list").touch()
    command = ["apt-get", "update", "--print-uris", "-o", f"Dir::Etc::SourceList={tmp_path / 'empty.list'}"]
    command += ["-o", f"Dir::Etc::SourceParts={tmp_path / 'parts'}", "-o", "APT::Architecture=amd64"]

    def asked() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = asked()
    where = (url or "https://nvidia.github.io/libnvidia-container/stable/deb/$(ARCH)").replace("$(ARCH)", "amd64")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"'{where}/InRelease'" in done.stdout
    assert "\nSigned-By: /etc/apt/keyrings/nvidia-container-toolkit.asc\n" in f"{rendered}\n"
    write(tmp_path / "parts" / "nvidia.sources", str(rendered).replace("Suites: /\n", ""))
    assert asked().returncode
