# SPDX-License-Identifier: MIT
"""The artefacts of a failed test whose guest has ended or hangs."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pexpect
import pytest

from logwriter import Story
from shirq_bench import plugin
from shirq_bench.channels.console import Console
from shirq_bench.errors import AgentGone, QmpFailed
from shirq_bench.journal import Journal
from shirq_bench.observe import splats
from shirq_bench.plugin import artefacts
from shirq_bench.provision.steps import BuildError
from shirq_bench.replay import codetrace
from shirq_bench.vm import environment

_CONSOLE = """\
shirq: the guest is up
[    5.000000] BUG: KASAN: slab-use-after-free in shirq_read+0x10/0x20 [shirq]
[    5.000001] Call Trace:
[    5.000002]  </TASK>
[    6.000000] Kernel panic - not syncing: KASAN: panic_on_warn set ...
"""


def _gone(*_: object, **__: object) -> Any:
    raise AgentGone("the agent channel was closed")


def test_the_report_before_a_panic_is_in_the_kernel_log(tmp_path: Path) -> None:
    def closed(*_: object, **__: object) -> Any:
        raise QmpFailed("the connection is closed")

    near, far = socket.socketpair()
    console = Console("trial", near, tmp_path / "console.log")
    far.sendall(_CONSOLE.encode())
    far.close()
    console.expect(pexpect.EOF)
    vm: Any = SimpleNamespace(
        started=True,
        dir=tmp_path,
        agent=SimpleNamespace(succeed=_gone),
        qmp=SimpleNamespace(execute=closed),
        console=console,
    )
    log, unread = artefacts.kernel_log(vm)
    (found,) = splats.scan(log)
    assert "KASAN" in found.rule
    assert unread == "the agent channel was closed"


@pytest.fixture
def hung(tmp_path: Path) -> Any:
    """A guest whose kernel log cannot be read, and whose line has a picture."""

    def execute(command: str, **_: object) -> Any:
        return [{"cpu-index": 0}] if command == "query-cpus-fast" else "RIP=0"

    def keep(directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "console.log").write_text(_CONSOLE)

    (tmp_path / "run").mkdir()
    return SimpleNamespace(
        name="vm7",
        started=True,
        dir=tmp_path / "run",
        agent=SimpleNamespace(succeed=_gone),
        qmp=SimpleNamespace(execute=execute),
        console=SimpleNamespace(text=lambda: _CONSOLE),
        machine=SimpleNamespace(kernel="6.1", as_data=lambda: {"kernel": "6.1"}),
        keep=keep,
        log=lambda: Story().claimed_interrupt().log(),
        journal=Journal("vm7"),
        situation=lambda: "QEMU runs",
    )


@pytest.fixture
def item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(environment, "describe", lambda kernels: {"kernels": ", ".join(kernels)})
    config = SimpleNamespace(rootpath=tmp_path, inipath=None, getoption=lambda _: "kept")
    return SimpleNamespace(nodeid="test_it", config=config)


_KEPT = {"console.log", "dmesg", "processors", "machine.json", "page.html", "waveform.vcd"}


def test_a_full_run_directory_loses_no_artefact(item: Any, hung: Any, tmp_path: Path) -> None:
    for name in ("dmesg", "processors"):
        (hung.dir / name).symlink_to("/dev/full")
    assert artefacts.keep(item, [hung]) == []
    kept = tmp_path / "kept/test_it"
    assert {path.name for path in (kept / "vm7").iterdir()} == _KEPT
    assert (kept / "vm7/dmesg").read_text() == _CONSOLE
    assert (kept / "vm7/processors").read_text() == "RIP=0\nRIP=0"


@pytest.mark.parametrize("lost", sorted(_KEPT))
def test_an_artefact_that_cannot_be_kept_leaves_the_others(
    item: Any, hung: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    kept = tmp_path / "kept/test_it/vm7"
    kept.mkdir(parents=True)
    (kept / lost).symlink_to("/dev/full")
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    (problem,) = artefacts.keep(item, [hung])
    assert problem == "could not be kept: [Errno 28] No space left on device"
    beside = {"page.html", "waveform.vcd"} if lost in ("page.html", "waveform.vcd") else set()
    assert {path.name for path in kept.iterdir() if path.is_file()} >= _KEPT - {lost} - beside


def test_no_error_of_the_artefacts_takes_the_failures_place(
    item: Any, hung: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pytest ends the whole session if an error leaves the hook that keeps them."""

    def fails(*_: object) -> Any:
        raise BuildError("make: no compiler")

    def breaks(*_: object) -> Any:
        raise RuntimeError("it is broken")

    monkeypatch.setattr(environment, "describe", fails)
    hung.log = hung.situation = breaks
    item.stash = {plugin._VMS: [hung]}
    shown = plugin._show(item)
    assert [said for what, said in shown if what == "artefacts"] == [
        "could not be kept: it is broken",
        "could not be kept: make: no compiler",
        str(tmp_path / "kept/test_it"),
    ]
    assert ("guest vm7", "its situation is unknown: it is broken") in shown
    assert {path.name for path in (tmp_path / "kept/test_it").iterdir()} == {"vm7", "reproduce"}


def test_no_error_of_what_is_kept_of_a_pass_fails_the_test(
    item: Any, hung: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object) -> Any:
        raise IndexError("it is broken")

    (hung.dir / codetrace.RAW).touch()
    monkeypatch.setattr(codetrace, "save", lambda *_: None)
    artefacts.keep_passed(item, [hung])
    kept = artefacts._passed(item)
    assert kept.is_dir()
    monkeypatch.setattr(codetrace, "save", breaks)
    artefacts.keep_passed(item, [hung])
    assert not kept.exists()
