# SPDX-License-Identifier: MIT
"""Writes the tutorial's project: each code block that begins with a file name becomes that file."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs/tutorial.md"
_FILE = re.compile(r"^```\w+\n# ([\w.]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def write(directory: Path) -> list[str]:
    """Write the tutorial's files into ``directory``; returns their names in the tutorial's order."""
    files = _FILE.findall(PAGE.read_text())
    for name, text in files:
        (directory / name).write_text(text)
    return [name for name, _ in files]
