# SPDX-License-Identifier: MIT
"""A description of the guests' environment with the exact version of each part, so that two results can be compared."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from shirq_bench import paths
from shirq_bench.errors import BenchError
from shirq_bench.provision import checkout, image, kernel, qemu
from shirq_bench.vm import accel
from shirq_bench.vm.machine import Machine
from shirq_bench.vm.vm import parts

_LATER = "unknown until the first guest is started"


def describe(kernels: Iterable[str]) -> dict[str, str]:
    """QEMU, accelerator, the kernels of these names, host and versions, as far as they are known without a build."""
    emulator = qemu.cached()
    found = {**_ours(), "pytest": metadata.version("pytest")}
    found["host"] = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    if emulator:
        made = qemu.versions(emulator)
        found["QEMU"] = f"{_version(emulator)}, {made.source}, device {made.device}, firmware {made.firmware}"
        verdict = accel.cached(emulator)
        found["accelerator"] = f"{verdict.name}: {verdict.why}" if verdict else _LATER
    else:
        found["QEMU"] = _LATER
    for name in kernels:
        known = kernel.cached(name) if name in kernel.names() else kernel.get(name)
        found[f"kernel {name}"] = known.version if known else _LATER
    return found


def head(kernels: Iterable[str]) -> dict[str, str]:
    """What `describe` says, for the head of a report: if the environment cannot be read, the reason."""
    try:
        return describe(kernels)
    except (BenchError, OSError) as error:
        return {"shirq-bench": f"the environment of the guests is unknown: {error}"}


def write_report(path: Path, content: Mapping[str, Any], kernels: Iterable[str]) -> dict[str, Any]:
    """Write a report as JSON, with what `head` says as its ``environment``; returns what was written."""
    report = {**content, "environment": head(kernels)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n")
    return report


def versions(machine: Machine) -> dict[str, str]:
    """The exact version of every part that a guest of ``machine`` is made of. They are built if they are missing.

    The same parts have the same versions on every machine; hashes have 16 hex digits.
    """
    made = parts(machine.kernel, machine.modules, machine.overlay)
    emulator = qemu.versions(made.emulator)
    trees = ([Path(tree) for tree in given] for given in (machine.modules, machine.overlay))
    return {
        **_ours(),
        "QEMU source": emulator.source,
        "QEMU overlay and patches": emulator.device,
        "firmware": emulator.firmware,
        "accelerator": " ".join(made.accelerator.identity(machine.turns)),
        "kernel": made.kernel.version,
        "image's packages": " ".join(image.package_versions()),
        "image": image.contents(made.kernel, *trees),
    }


def _ours() -> dict[str, str]:
    """The versions of the bench itself; the commit only if it runs from a checkout."""
    found = {"shirq-bench": metadata.version("shirq-bench")}
    if top := paths.checkout():
        try:
            found["commit"] = checkout.describe(top)
        except BenchError as error:
            found["commit"] = f"unknown: {error}"
    return found


def _version(emulator: Path) -> str:
    """The emulator's version, or why it cannot be read: a failed description must not end the test run."""
    try:
        asked = subprocess.run([emulator, "--version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"it does not start: {error}"
    said = asked.stdout.splitlines()
    return said[0].removeprefix("QEMU emulator version ") if said else f"it does not start: {asked.stderr.strip()}"
