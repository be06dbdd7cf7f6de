# SPDX-License-Identifier: MIT
"""A picture as a VCD file, for GTKWave and other waveform viewers.

Levels and spans are one-bit wires, high while they last; a span's text is a string next to its wire; stimuli are VCD
events. Times are virtual ns, as in the log.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TextIO

from vcd import VCDWriter
from vcd.writer import Variable

from shirq_bench.report.model import Picture, Shape, Track


def write(picture: Picture, file: TextIO) -> None:
    """Write the picture as VCD to a text file."""
    # Time, order within the same time, variable, value.
    changes: list[tuple[int, int, Variable[Any], bool | str]] = []
    comment = picture.title.replace("$", "")
    with VCDWriter(file, timescale="1 ns", date="", comment=comment, init_timestamp=picture.start_ns) as writer:
        used: set[tuple[str, str]] = set()
        for track in picture.tracks:
            scope, name = _unused(used, _identifier(track.group), _identifier(track.name))
            if track.shape is Shape.POINTS:
                event = writer.register_var(scope, name, "event")
                changes += [(span.start_ns, 1, event, True) for span in track.spans]
                continue
            wire = writer.register_var(scope, name, "wire", size=1, init=0)
            changes += [(time, level, wire, bool(level)) for time, level in _edges(track)]
            if track.shape is Shape.SPANS:
                label = writer.register_var(scope, f"{name}_is", "string", init="")
                changes += [(span.start_ns, 1, label, span.label.replace("µ", "u")) for span in track.spans]
        changes.sort(key=lambda change: change[:2])
        for time, _, variable, value in changes:
            writer.change(variable, time, value)
        writer.close(max([picture.end_ns, *(time for time, *_ in changes[-1:])]))


def _edges(track: Track) -> Iterator[tuple[int, int]]:
    """The falls and rises. A span of zero length on the virtual clock gets one ns; otherwise viewers do not show it."""
    end = -1
    for span in track.spans:
        if span.start_ns >= end:
            if end >= 0:
                yield end, 0
            yield span.start_ns, 1
        end = max(end, span.end_ns, span.start_ns + 1)
    if end >= 0:
        yield end, 0


def _identifier(text: str) -> str:
    return re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_") or "_"


def _unused(used: set[tuple[str, str]], scope: str, name: str) -> tuple[str, str]:
    """The scope and the name. The name gets a number if the pair is used: different texts may give one identifier."""
    number, unique = 1, name
    while (scope, unique) in used:
        number += 1
        unique = f"{name}_{number}"
    used.add((scope, unique))
    return scope, unique
