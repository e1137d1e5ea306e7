# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine says of its GPUs and their driver. It runs on that machine, and needs Python alone."""

from __future__ import annotations

import re
from pathlib import Path

NVIDIA = "0x10de"
"""The number of the vendor on the PCI bus (https://pci-ids.ucw.cz)."""
DISPLAY, PROCESSING = "0x03", "0x12"
"""The classes of devices that compute: display controllers, and what has no display."""
VERSION = re.compile(r"Module[\w ]*?\s(\d+(?:\.\d+)+)\s")
MODEL = re.compile(r"^Model:\s*(.+?)\s*$", re.MULTILINE)


def found(root: Path) -> dict[str, object]:
    """What there is below the file systems in `root`: {devices, driver, products}.

    `devices` are addresses on the PCI bus, `driver` is the version of the loaded one ("" where none is), `products` are
    the names that the driver gives the GPUs, with - for spaces as feature discovery writes them.
    """
    return {"devices": devices(root), "driver": driver(root), "products": products(root)}


def devices(root: Path) -> list[str]:
    """The addresses of NVIDIA's devices that compute."""
    there = sorted((root / "sys/bus/pci/devices").glob("*"))
    return [
        path.name
        for path in there
        if _text(path / "vendor") == NVIDIA and _text(path / "class")[:4] in (DISPLAY, PROCESSING)
    ]


def driver(root: Path) -> str:
    """The version of the driver that is loaded; empty where none is."""
    told = VERSION.search(_text(root / "proc/driver/nvidia/version"))
    return told[1] if told else ""


def products(root: Path) -> list[str]:
    """What the driver calls the GPUs."""
    there = sorted((root / "proc/driver/nvidia/gpus").glob("*/information"))
    named = [MODEL.search(_text(path)) for path in there]
    return [name[1].replace(" ", "-") for name in named if name]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
