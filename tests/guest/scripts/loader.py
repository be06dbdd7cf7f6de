# SPDX-License-Identifier: MIT
"""The guest runs this file from standard input: it makes modules of the sources that follow, and runs a script.

Arguments: the length of this file, the device's address, MODULE.FUNCTION, the function's arguments as (args, kwargs).
The line after this file is a list of (module, file, source). Tracebacks show the files and lines of the repository.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType


def load(name: str, file: str, source: str) -> ModuleType:
    module = sys.modules[name] = ModuleType(name)
    exec(compile(source, file, "exec"), module.__dict__)
    return module


def main() -> None:
    _, _, address, script, arguments = sys.argv
    driver = Path("/usr/bin/shirq-edu.py")
    load("edu", str(driver), driver.read_text())
    for name, file, source in eval(sys.stdin.readline()):
        module = load(name, file, source)
        if name.endswith(".inguest"):
            vars(module)["ADDRESS"] = address
    args, kwargs = eval(arguments)
    getattr(module, script.rpartition(".")[2])(*args, **kwargs)


if __name__ == "__main__":
    main()
