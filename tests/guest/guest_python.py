# SPDX-License-Identifier: MIT
"""Runs functions of `tests/guest/scripts`, which use the Python binding, in the guest.

A script is one of these functions. The bench sends the sources of its module and of `inguest` to the guest; the module
must not import any other module of the tests. The arguments are sent as text: they must be literals.
"""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec

from guest.scripts import inguest
from shirq_bench.channels.agent import Command
from shirq_bench.observe.scene import Scene
from shirq_bench.vm.machine import ADDRESSES

_P = ParamSpec("_P")
_TOP = Path(__file__).parents[2]

_LOADER = Path(inguest.__file__).with_name("loader.py").read_text()
#: Read the sources from standard input, to keep the command line short in transcripts and messages.
_BOOTSTRAP = "import sys; exec(sys.stdin.read(int(sys.argv[1])))"


@functools.cache
def _module(name: str, file: str) -> tuple[str, str, str]:
    path = Path(file)
    return name, str(path.relative_to(_TOP)), path.read_text()


def command_line(
    device: str, script: Callable[_P, None], *arguments: _P.args, **options: _P.kwargs
) -> tuple[list[str], str]:
    """Return the command that runs a script in a guest, and the command's standard input; see `start`."""
    given = ascii((arguments, options))
    assert ast.literal_eval(given) == (arguments, options), f"a script's arguments must be literals, got {given}"
    name = f"{script.__module__.rpartition('.')[2]}.{script.__name__}"
    modules = [_module(inguest.__name__, inguest.__file__), _module(script.__module__, inspect.getfile(script))]
    argv = ["python3", "-c", _BOOTSTRAP, str(len(_LOADER)), ADDRESSES[device], name, given]
    return argv, f"{_LOADER}{modules!a}\n"


def start(scene: Scene, device: str, script: Callable[_P, None], *arguments: _P.args, **options: _P.kwargs) -> Command:
    """Start a script in the guest; its ADDRESS is the PCI address of ``device``."""
    argv, source = command_line(device, script, *arguments, **options)
    command = scene.vm.agent.start(*argv)
    command.write(source)
    return command


def finish(command: Command, deadline: float = 60.0) -> list[str]:
    """Wait until a script has ended successfully; returns its output lines."""
    result = command.wait(deadline)
    assert result.status == 0, result.stderr
    return result.stdout.splitlines()


def run(scene: Scene, device: str, script: Callable[_P, None], *arguments: _P.args, **options: _P.kwargs) -> list[str]:
    """Run a script to its end; returns the lines that it has printed."""
    return finish(start(scene, device, script, *arguments, **options))
