# SPDX-License-Identifier: MIT
"""Writes the files of a picture."""

from __future__ import annotations

from pathlib import Path

from shirq_bench.report import html, vcd
from shirq_bench.report.model import Picture


def save(picture: Picture, directory: Path) -> None:
    """Write ``page.html`` and ``waveform.vcd`` into ``directory``."""
    (directory / "page.html").write_text(html.render(picture), encoding="utf-8")
    with (directory / "waveform.vcd").open("w") as file:
        vcd.write(picture, file)
