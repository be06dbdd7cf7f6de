# SPDX-License-Identifier: MIT
"""Proves the patches of ``qemu-device/upstream`` by their own qtests, on QEMU's source without anything of ours.

Each patch mends a bug of QEMU and has a qtest. The qtest must fail on the plain source and pass with the mend.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from shirq_bench.provision import qemu
from shirq_bench.provision.steps import BuildError, run

_EMULATOR = "qemu-system-x86_64"
#: Seconds for all cases of one qtest, on a busy host.
_DEADLINE = 600.0


@dataclass(frozen=True)
class Verdict:
    """The end of a qtest: whether it passed, and its command and output."""

    passed: bool
    output: str


def tests_of(patch: str) -> str:
    """The part of a patch that changes files below ``tests/``."""
    parts = re.split(r"(?m)^(?=diff --git )", patch)
    return "".join(part for part in parts if part.startswith("diff --git a/tests/"))


def qtest_of(patch: str) -> str:
    """The name of the qtest that a patch adds. Raises `BuildError` unless it adds exactly one."""
    added: list[str] = re.findall(r"(?m)^--- /dev/null\n\+\+\+ b/tests/qtest/(\S+)\.c$", patch)
    if len(added) != 1:
        raise BuildError(f"a patch must add one qtest of its own, not {', '.join(added) or 'none'}")
    return added[0]


def _run(build: Path, qtest: str, firmware: Path, folder: Path) -> Verdict:
    # The source has no firmware, so the emulator of the test is a script that names ours.
    emulator = folder / _EMULATOR
    emulator.write_text(f'#!/bin/sh\nexec {build / _EMULATOR} -L {firmware} "$@"\n')
    emulator.chmod(0o755)
    log = build / f"{qtest}.log"
    log.unlink(missing_ok=True)
    status = run(
        qtest,
        [build / "tests/qtest" / qtest, "--tap", "-k"],
        log=log,
        env={"QTEST_QEMU_BINARY": str(emulator), "TMPDIR": str(folder)},
        deadline=_DEADLINE,
        check=False,
    )
    return Verdict(status == 0, log.read_text(errors="replace"))


def _try(patch: str, qtest: str, firmware: Path) -> Verdict:
    with tempfile.TemporaryDirectory(prefix="shirq-upstream-") as work:
        applied = Path(work) / "tried.patch"
        applied.write_text(patch)
        with qemu.compiled(
            "plain",
            of="-upstream",
            devices="default",
            apply_to=lambda tree: qemu.apply(tree, None, [applied]),
            targets=(_EMULATOR, f"tests/qtest/{qtest}"),
        ) as build:
            return _run(build, qtest, firmware, Path(work))


def prove(path: Path) -> tuple[Verdict, Verdict]:
    """Run the qtest of a patch on the plain source, and with the patch; both verdicts.

    Raises `BuildError` if the patch does not apply to the plain source, the source cannot be compiled with it, or the
    qtest does not end.
    """
    patch = path.read_text()
    qtest = qtest_of(patch)
    firmware = qemu.build().with_name("firmware")
    return _try(tests_of(patch), qtest, firmware), _try(patch, qtest, firmware)
