# SPDX-License-Identifier: MIT
"""Where things are in the checkout."""

from __future__ import annotations

from pathlib import Path

#: The checkout's top directory.
TOP = Path(__file__).resolve().parents[2]
QEMU_DEVICE = TOP / "qemu-device"
KMOD = TOP / "kmod"
GUEST = TOP / "guest"
#: Kernel modules of the bench itself, each a folder called like its module.
MODULES = GUEST / "modules"
#: What runs leave: reports, failure artefacts.
BUILD = TOP / "build"
