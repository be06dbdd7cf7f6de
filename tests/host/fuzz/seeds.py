# SPDX-License-Identifier: MIT
"""Write the fuzz target's seed corpus: the programs of all profiles, as fuzz_program.c reads them.

Run as ``python tests/host/fuzz/seeds.py FOLDER``.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "guest"))

from shirq import profile
from shirq.abi import ProgramKind
from shirq.program import to_array

#: The style byte's bit that lets fuzz_program.c bring fields into range.
_TAME = 4


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(profile.folder().glob("*.toml")):
        card = profile.load(path)
        for kind in (ProgramKind.IRQ, ProgramKind.UNMASK, ProgramKind.RELEASE):
            operations = bytes(to_array(card.programs.program(kind)))
            for style in (0, _TAME):
                (folder / f"{card.name}-{kind.name.lower()}-{style}").write_bytes(bytes([kind | style, 1]) + operations)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
