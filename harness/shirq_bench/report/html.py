# SPDX-License-Identifier: MIT
"""A picture as one self-contained web page: it needs no network and no other file.

The page is ``page.html`` with ``page.css``, ``page.js`` and the picture's data put in. Times in the data are ns since
the picture's start.
"""

from __future__ import annotations

import json
from typing import Any

from shirq_bench import pages
from shirq_bench.observe import judge, words
from shirq_bench.report.model import Picture


def render(picture: Picture) -> str:
    """The page's text; write it as UTF-8."""
    return pages.render(
        __package__,
        "page.html",
        title=picture.title,
        css=pages.verbatim(__package__, "page.css"),
        js=pages.verbatim(__package__, "page.js"),
        # A "</script>" or "<!--" in a name must not end the element.
        data=json.dumps(_data(picture), separators=(",", ":")).replace("<", "\\u003c"),
    )


def frame(page: str, title: str) -> str:
    """A page in a frame of its own, as a part of another page."""
    return pages.render(__package__, "frame.html", page=page, title=title)


def _data(picture: Picture) -> dict[str, Any]:
    strings: dict[str, int] = {}

    def index(text: str) -> int:
        return strings.setdefault(text, len(strings))

    start = picture.start_ns
    return {
        "title": picture.title,
        "gsi": picture.gsi,
        "start": start,
        "length": picture.end_ns - start,
        "fold": picture.pause_ns,
        "dropped": picture.dropped,
        "verdicts": [_verdict(verdict, start) for verdict in picture.verdicts],
        "tracks": [
            {
                "group": track.group,
                "name": track.name,
                "tone": track.tone,
                "shape": track.shape,
                "spans": [
                    [span.start_ns - start, span.end_ns - start, index(span.label), index(span.detail), int(span.muted)]
                    for span in track.spans
                ],
            }
            for track in picture.tracks
        ],
        "events": [[event.time_ns - start, index(event.who), index(event.what)] for event in picture.events],
        "strings": list(strings),
    }


def _verdict(verdict: judge.Verdict, start: int) -> dict[str, Any]:
    return {
        "rule": verdict.rule,
        "checked": verdict.checked,
        "note": verdict.note,
        "findings": [
            {
                "what": finding.what,
                "proof": [[entry.time_ns - start, words.phrase(entry)] for entry in finding.entries],
                "calls": [judge.call_text(call) for call in finding.calls],
            }
            for finding in verdict.findings
        ],
    }
