# SPDX-License-Identifier: MIT
"""`shirq debug` gives its terminal to gdb."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pexpect

from interruptible import INTERRUPTIBLE

_GDB = f"""\
#!{sys.executable}
import signal, sys
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, "Ctrl-C is ignored"
signal.signal(signal.SIGINT, lambda *_: print("the guest stops", flush=True))
print("gdb runs", flush=True)
sys.exit(7 if sys.stdin.readline() == "quit\\n" else 1)
"""
_SESSION = """\
import contextlib, signal
from pathlib import Path
from types import SimpleNamespace
from shirq_bench.replay import gdb, stopped
vm = SimpleNamespace(dir=Path(), qmp=SimpleNamespace(execute=lambda *words, **arguments: None))
stopped.stopped = lambda case, at_ns: contextlib.nullcontext(vm)
gdb._symbol_files = lambda case, directory: []
print("status", gdb.session(None, 0), signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


def test_ctrl_c_is_for_gdb_alone(tmp_path: Path) -> None:
    gdb = tmp_path / "gdb"
    gdb.write_text(_GDB)
    gdb.chmod(0o755)
    command, *words = [*INTERRUPTIBLE, sys.executable, "-c", _SESSION]
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    session = pexpect.spawn(command, words, env=environment, encoding="utf-8", timeout=60)
    session.expect_exact("gdb runs")
    for _ in range(2):
        session.sendintr()
        session.expect_exact("the guest stops")
    session.sendline("quit")
    session.expect_exact("status 7 True")
    session.close()
