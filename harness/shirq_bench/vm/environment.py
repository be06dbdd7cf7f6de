# SPDX-License-Identifier: MIT
"""A description of the guests' environment, so that two results can be compared."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from shirq_bench.provision import kernel, qemu
from shirq_bench.vm import accel

_LATER = "unknown until the first guest is started"


def describe(kernels: Iterable[str]) -> dict[str, str]:
    """QEMU, accelerator, the kernels of these names, host and versions, as far as they are known without a build."""
    emulator = qemu.cached()
    found = {"shirq-bench": metadata.version("shirq-bench"), "pytest": metadata.version("pytest")}
    found["host"] = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    if emulator:
        found["QEMU"] = f"{_version(emulator)}, {emulator.parent.name}"
        verdict = accel.cached(emulator)
        found["accelerator"] = f"{verdict.name}: {verdict.why}" if verdict else _LATER
    else:
        found["QEMU"] = _LATER
    for name in kernels:
        known = kernel.cached(name) if name in kernel.names() else kernel.get(name)
        found[f"kernel {name}"] = known.release if known else _LATER
    return found


def _version(emulator: Path) -> str:
    """The emulator's version, or why it cannot be read: a failed description must not end the test run."""
    try:
        asked = subprocess.run([emulator, "--version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"it does not start: {error}"
    said = asked.stdout.splitlines()
    return said[0].removeprefix("QEMU emulator version ") if said else f"it does not start: {asked.stderr.strip()}"
