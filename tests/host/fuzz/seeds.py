# SPDX-License-Identifier: MIT
"""Write the seed corpus of the fuzz target: the programs of all profiles, in the input format of fuzz_program.c.

Run as ``python tests/host/fuzz/seeds.py FOLDER``.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "guest"))

from shirq import profile
from shirq.abi import ProgramKind
from shirq.program import to_array

#: The bit of the first byte that selects the tame style of fuzz_program.c.
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
