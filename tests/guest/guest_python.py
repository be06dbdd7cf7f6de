# SPDX-License-Identifier: MIT
"""Functions of `tests/guest/scripts` that run in the guest, with the binding.

A script is a function; it goes to the guest with its module and `inguest`, and may import nothing else of the tests.
Its arguments are literals.
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
#: The script's sources come by standard input, so that a command line in a transcript or a message is short.
_BOOTSTRAP = "import sys; exec(sys.stdin.read(int(sys.argv[1])))"


@functools.cache
def _module(name: str, file: str) -> tuple[str, str, str]:
    path = Path(file)
    return name, str(path.relative_to(_TOP)), path.read_text()


def command_line(
    device: str, script: Callable[_P, None], *arguments: _P.args, **options: _P.kwargs
) -> tuple[list[str], str]:
    """The command that runs a script in a guest, and its standard input; see `start`."""
    given = ascii((arguments, options))
    assert ast.literal_eval(given) == (arguments, options), f"a script's arguments are literals, not {given}"
    name = f"{script.__module__.rpartition('.')[2]}.{script.__name__}"
    modules = [_module(inguest.__name__, inguest.__file__), _module(script.__module__, inspect.getfile(script))]
    argv = ["python3", "-c", _BOOTSTRAP, str(len(_LOADER)), ADDRESSES[device], name, given]
    return argv, f"{_LOADER}{modules!a}\n"


def start(scene: Scene, device: str, script: Callable[_P, None], *arguments: _P.args, **options: _P.kwargs) -> Command:
    """Start a script; its ADDRESS is that of ``device``."""
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
