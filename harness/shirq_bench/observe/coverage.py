# SPDX-License-Identifier: MIT
"""Coverage of kmod/ by the tests: GCOV counts lines in the guests' kernels, and those of program.c also in host tests.

The plugin's ``--shirq-coverage DIR`` fills a directory: `collect` fetches the counters of every guest, once, when its
test is over. A clone continues with its template's counters, so lines that the template ran are counted once for each
of its clones: the counts only show whether a line ran. The kernel keeps the counters of a module that was unloaded.
Coverage is lost if a guest ends before its test does; such guests are listed.

`shirq coverage` reports the coverage.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from shirq_bench.errors import BenchError, CommandFailed
from shirq_bench.paths import BUILD, KMOD
from shirq_bench.provision import kmod
from shirq_bench.vm.vm import Vm

#: Guest script: copy all counters and archive the copies. debugfs reports size 0 for the originals, so tar would store
#: no contents.
_COUNTERS = """
set -e
debug=/sys/kernel/debug
# The guest has no mountpoint(1).
test -d $debug/gcov || mount -t debugfs debugfs $debug
mkdir -p /tmp/counters
cd /tmp/counters
find $debug/gcov -name '*.gcda' >../counted
while read -r file; do cat "$file" >"${file##*/}"; done <../counted
exec tar -c .
"""
#: The environment variable that gives the host's tests the folder for coverage of the libraries they compile.
_HOST = "SHIRQ_COVERAGE"
#: The name of the file that lists the guests whose last counters are lost.
_MISSED = "missed"


def begin(directory: Path) -> None:
    """Empty ``directory`` for the tests of this process."""
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "host").mkdir(parents=True)
    os.environ[_HOST] = str(directory.absolute() / "host")


def host_folder() -> Path | None:
    """A new folder for the coverage of a library in a host test, or None if coverage is off."""
    parent = os.environ.get(_HOST)
    return Path(tempfile.mkdtemp(dir=parent)) if parent else None


def collect(vm: Vm, directory: Path, test: str) -> None:
    """Fetch the counters of a guest to ``directory``, if its kernel has GCOV. ``test`` is the id of the guest's test.

    Raises `BenchError` if a running guest does not deliver its counters.
    """
    target = vm.parts.kernel
    if not target.has(kmod.COUNTS_LINES):
        return
    if vm.status() is not None:
        _miss(vm, directory, test)
        return
    archive = bytearray()
    result = vm.agent.start("sh", "-c", _COUNTERS, sink=archive.extend).wait(60)
    if result.status:
        raise CommandFailed(f"{vm.name}: cannot read the GCOV counters of the guest's kernel: {result.stderr}")
    kernel_folder = directory / "guests" / target.name.replace("/", "_")
    notes = kernel_folder / "notes"
    if not notes.exists():
        notes.mkdir(parents=True, exist_ok=True)
        for note in kmod.build(target).parent.glob("*.gcno"):
            shutil.copy2(note, notes)
    guest = Path(tempfile.mkdtemp(prefix=f"{vm.name}-", dir=kernel_folder))
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(guest, filter="data")
    # Empty files come from a guest that was shutting down: its counters are lost.
    if any(not file.stat().st_size for file in guest.iterdir()):
        shutil.rmtree(guest)
        _miss(vm, directory, test)


def _miss(vm: Vm, directory: Path, test: str) -> None:
    with (directory / _MISSED).open("a") as missed:
        missed.write(f"{test}: {vm.name}\n")


def _merge(kernel_folder: Path, total: Path) -> None:
    """Add up in ``total`` the counters of all guests with one kernel, and copy the compiler's notes there."""
    notes = kernel_folder / "notes"
    shutil.copytree(notes, total)
    # A guest that never loaded the module has no counters.
    counted = [folder for folder in kernel_folder.iterdir() if folder != notes and any(folder.iterdir())]
    for number, guest in enumerate(counted):
        if number:
            subprocess.run(["gcov-tool", "merge", total, guest, "-o", total], check=True)
        else:
            shutil.copytree(guest, total, dirs_exist_ok=True)


def report(directory: Path, at_least: float) -> int:
    """Print and write the coverage figure from ``directory``. Returns 0, or 2 if it is below ``at_least`` percent."""
    kernels = [folder for folder in directory.glob("guests/*") if folder.is_dir()]
    if not kernels:
        raise BenchError(f"{directory} holds no counters of a guest: run guest tests on a kernel with GCOV (debug)")
    total = directory / "total"
    shutil.rmtree(total, ignore_errors=True)
    for folder in kernels:
        _merge(folder, total / folder.name)
    page = BUILD / "reports" / "kmod-coverage" / "index.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    if (missed := directory / _MISSED).exists():
        print("coverage is lost, because these guests ended before their tests:", missed.read_text(), sep="\n")
    gcovr: list[str | Path] = [sys.executable, "-m", "gcovr", "--root", KMOD]
    gcovr += ["--merge-lines", "--merge-mode-functions=separate", "--fail-under-line", str(at_least)]
    gcovr += ["--txt", "-", "--json", page.parent.with_suffix(".json"), "--html-details", page]
    return subprocess.run([*gcovr, total, directory / "host"]).returncode
