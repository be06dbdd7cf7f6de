# SPDX-License-Identifier: MIT
"""The report as one self-contained page with plots; and the tables of docs/performance.md."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shirq_bench.campaigns.bench.contender import CONTENDERS
from shirq_bench.campaigns.bench.guests import WORKERS
from shirq_bench.campaigns.bench.targets import judge

#: Number of functions in a profile's table.
_FUNCTIONS = 60
#: Number of functions in the document's table.
_DOCUMENTED = 20
COLOURS = {"hard": "#3b6ea5", "awake": "#8fb3d9", "enabled": "#d99a3b"}
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: 1em 0 } td, th { padding: .2em .7em; text-align: right }
th { border-bottom: 1px solid #888 } td:first-child, th:first-child { text-align: left }
.missed { color: #a33 } .met { color: #262 } details { margin: .5em 0 }
"""
_FONT = 'font-family="system-ui, sans-serif" font-size="13"'
_Row = Sequence[object]


def _table(head: Sequence[str], rows: Iterable[_Row]) -> str:
    def line(tag: str, cells: _Row) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(_text(cell))}</{tag}>" for cell in cells) + "</tr>"

    return f"<table>{line('th', head)}{''.join(line('td', row) for row in rows)}</table>\n"


def _text(cell: object) -> str:
    return f"{cell:,g}" if isinstance(cell, float | int) and not isinstance(cell, bool) else str(cell)


def _markdown(head: Sequence[str], rows: Iterable[_Row]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(_text(cell) for cell in line) + " |" for line in lines) + "\n"


_COST_HEAD = (
    *("driver", "awake", "99 %", "enabled", "99 %", "hard part", "instructions in all"),
    *("system calls", "registers", "config"),
)


def _cost_rows(kernel: Mapping[str, Any]) -> Iterable[_Row]:
    for name, phases in kernel["cost"]["drivers"].items():
        regular, at_random = phases["regular"], phases["random"]
        profile = kernel["profile"][name]
        awake = (regular["awake"]["median"], at_random["awake"]["p99"]) if "awake" in regular else ("-", "-")
        enabled = (regular["enabled"]["median"], at_random["enabled"]["p99"])
        counts = (profile["calls"], regular["registers"], regular["config"])
        yield (name, *awake, *enabled, regular["hard"]["median"], round(profile["instructions"]), *counts)


_NEIGHBOUR_HEAD = ("beside", "instructions added", "registers", "config")


def _neighbour_rows(kernel: Mapping[str, Any]) -> Iterable[_Row]:
    for name, figures in kernel["cost"]["neighbour"]["beside"].items():
        yield name, figures["added"], figures["registers"], figures["config"]


_TARGET_HEAD = ("target", "measured", "at most", "")


def _target_rows(kernel: Mapping[str, Any]) -> Iterable[_Row]:
    for target in judge(kernel["cost"], kernel["profile"]):
        yield target.what, round(target.value, 3), target.limit, "met" if target.met else "missed"


def _rate_head(kernel: Mapping[str, Any]) -> Sequence[str]:
    first = next(iter(kernel["rate"].values()))
    return ("driver", "highest rate", "least", "most", *(f"left beside {int(rate):,}/s" for rate in first["left"]))


def _rate_rows(kernel: Mapping[str, Any]) -> Iterable[_Row]:
    for name, figures in kernel["rate"].items():
        highest = [figures["highest"][figure] for figure in ("median", "least", "most")]
        yield (name, *highest, *(f"{part:.1%}" for part in figures["left"].values()))


_NAMESPACE = 'xmlns="http://www.w3.org/2000/svg"'


def _bars(rows: Mapping[str, Sequence[tuple[float, str]]], y: int = 0) -> str:
    """One line for each row: overlaid bars, each (value, colour), the greatest first; its value is the label."""
    most = max(bars[0][0] for bars in rows.values())
    parts = [f'<svg {_NAMESPACE} y="{y}" width="900" height="{34 * len(rows) + 10}" role="img" {_FONT}>']
    for row, (name, bars) in enumerate(rows.items()):
        top = 34 * row + 8
        parts.append(f'<text x="0" y="{top + 15}">{html.escape(name)}</text>')
        for value, colour in bars:
            width = 680 * value / most
            parts.append(f'<rect x="130" y="{top}" width="{width:.1f}" height="22" fill="{colour}"/>')
        parts.append(f'<text x="{135 + 680 * bars[0][0] / most:.1f}" y="{top + 15}">{bars[0][0]:,g}</text>')
    return "".join(parts) + "</svg>\n"


def _cost_bars(kernel: Mapping[str, Any], y: int = 0) -> str:
    """Instructions until the end of the hard part, until awake, until enabled."""
    rows = {}
    for name, phases in kernel["cost"]["drivers"].items():
        regular = phases["regular"]
        figures = ("enabled", "awake", "hard") if "awake" in regular else ("enabled",)
        rows[name] = [(regular[figure]["median"], COLOURS[figure]) for figure in figures]
    return _bars(rows, y)


def _growth(points: Mapping[str, float], across: str, up: str) -> str:
    """How a figure grows, both axes logarithmic: a line of slope 1 is growth in proportion."""
    xs = [math.log10(float(x)) for x in points]
    ys = [math.log10(y) for y in points.values()]
    decades = max(max(xs) - min(xs), max(ys) - min(ys))
    places = [
        (40 + 360 * (x - min(xs)) / decades, 400 - 360 * (y - min(ys)) / decades) for x, y in zip(xs, ys, strict=True)
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts = [f'<svg {_NAMESPACE} width="520" height="450" role="img" {_FONT}>']
    parts.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS["hard"]}" stroke-width="2"/>')
    for (x, y), (count, value) in zip(places, points.items(), strict=True):
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{COLOURS["hard"]}"/>')
        parts.append(f'<text x="{x + 8:.1f}" y="{y - 8:.1f}">{count}: {value:,g}</text>')
    return "".join(parts) + f'<text x="40" y="440">{across}: {up}</text></svg>\n'


def _profile_rows(kernel: Mapping[str, Any], functions: int) -> Iterable[_Row]:
    """The functions with the most instructions, in any driver's interrupt."""
    profiles = [profile["functions"] for profile in kernel["profile"].values()]
    most = {name: max(found.get(name, 0) for found in profiles) for found in profiles for name in found}
    for name in sorted(most, key=lambda name: -most[name])[:functions]:
        yield name, *(round(found.get(name, 0)) for found in profiles)


def _profile_head(kernel: Mapping[str, Any]) -> Sequence[str]:
    return ("function", *kernel["profile"])


_WAYS_HEAD = (
    *("guest", "first command, ms", "least", "most", "of a processor, ms", "MiB of its own"),
    *(f"a second, {workers} at a time" for workers in WORKERS),
)


def _way_rows(guest: Mapping[str, Any]) -> Iterable[_Row]:
    for kind, figures in guest["ways"].items():
        first = [figures["first_command_ms"][figure] for figure in ("median", "least", "most")]
        used = figures["processor_ms"]["median"]
        yield kind, *first, used, figures["private_mib"], *figures["per_second"].values()


_LINE_HEAD = (
    "devices on the line",
    "clone to first command, ms",
    "of a processor, ms",
    "instructions of the hard part",
)


def _line_rows(guest: Mapping[str, Any]) -> Iterable[_Row]:
    for devices, figures in guest["line"].items():
        yield devices, *(figures[figure]["median"] for figure in ("first_command_ms", "processor_ms", "hard"))


_SUITES_HEAD = ("tests", "seconds", "ms a test")


def _suite_rows(guest: Mapping[str, Any]) -> Iterable[_Row]:
    for tests, seconds in guest["suites"].items():
        yield tests, seconds, round(seconds / int(tests) * 1000)


_LOAD = (
    "The machine's load was {:g} when this began; where it is not near 0, times by the clock say little of an idle"
    " machine, and those of a processor more."
)
_GUEST_TABLES = ((_WAYS_HEAD, _way_rows), (_SUITES_HEAD, _suite_rows), (_LINE_HEAD, _line_rows))


def _guest_plots(guest: Mapping[str, Any]) -> str:
    first = {kind: [(f["first_command_ms"]["median"], COLOURS["hard"])] for kind, f in guest["ways"].items()}
    hard = {devices: figures["hard"]["median"] for devices, figures in guest["line"].items()}
    return (
        _bars(first)
        + _growth(hard, "devices on the line", "instructions of the hard part")
        + _growth(guest["suites"], "tests", "seconds")
    )


def page(report: Mapping[str, Any]) -> str:
    """bench.html, from the content of bench.json."""
    body = [f"<h1>What an interrupt costs</h1>\n<p>{report['date']}, {html.escape(report['machine'])}.</p>"]
    body.append(
        "<ul>" + "".join(f"<li><b>{c.name}</b>: {html.escape(c.title)}</li>" for c in CONTENDERS.values()) + "</ul>"
    )
    for release, kernel in report["kernels"].items():
        body.append(f"<h2>Kernel {html.escape(release)}</h2>")
        if "cost" in kernel:
            body.append(
                "<p>Instructions from the assertion: until the end of the hard-interrupt part (dark), until the user"
                " program runs (light), until the device can assert again (orange).</p>"
            )
            body += [_cost_bars(kernel), _table(_COST_HEAD, _cost_rows(kernel))]
            body += ["<h3>Targets</h3>", _table(_TARGET_HEAD, _target_rows(kernel)), f"<p>{_reason(kernel)}</p>"]
            body += ["<h3>The neighbour's interrupt</h3>", _table(_NEIGHBOUR_HEAD, _neighbour_rows(kernel))]
            table = _table(_profile_head(kernel), _profile_rows(kernel, _FUNCTIONS))
            body.append(f"<details><summary>Instructions by function</summary>{table}</details>")
        if "rate" in kernel:
            body += ["<h3>Rates, of guest time at 10<sup>9</sup> instructions a second</h3>"]
            highest = {
                name: [(figures["highest"]["median"], COLOURS["hard"])] for name, figures in kernel["rate"].items()
            }
            body += [_bars(highest), _table(_rate_head(kernel), _rate_rows(kernel))]
    if guest := report.get("guest"):
        body.append(f"<h2>What a guest costs, kernel {html.escape(guest['kernel'])}</h2>")
        body += [f"<p>{_LOAD.format(guest['load'])}</p>", _guest_plots(guest)]
        body += [_table(head, rows(guest)) for head, rows in _GUEST_TABLES]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>What an interrupt costs</title>'
        f"<style>{_STYLE}</style></head><body>\n" + "\n".join(body) + "</body></html>\n"
    )


def _reason(kernel: Mapping[str, Any]) -> str:
    drivers = kernel["cost"]["drivers"]
    floor, uio = (drivers[name]["regular"]["enabled"]["median"] for name in ("wake", "uio_pci_generic"))
    return (
        f"A driver that does nothing but wake a reader takes {floor / uio:.2f} of uio_pci_generic's round: waking a"
        " process and switching to it is most of any round, and no driver whose user sleeps can be below that."
    )


def document(report: Mapping[str, Any]) -> str:
    """The measured part of docs/performance.md."""
    parts = []
    for release, kernel in report["kernels"].items():
        parts.append(f"## Kernel {release}, {report['date']}\n")
        if "cost" in kernel:
            parts += [_markdown(_COST_HEAD, _cost_rows(kernel)), _markdown(_TARGET_HEAD, _target_rows(kernel))]
            parts += [_reason(kernel) + "\n", _markdown(_NEIGHBOUR_HEAD, _neighbour_rows(kernel))]
        if "rate" in kernel:
            parts.append(_markdown(_rate_head(kernel), _rate_rows(kernel)))
        if "cost" in kernel:
            parts.append(_markdown(_profile_head(kernel), _profile_rows(kernel, _DOCUMENTED)))
    if guest := report.get("guest"):
        parts.append(f"## What a guest costs, kernel {guest['kernel']}, {report['date']}\n")
        parts.append(_LOAD.format(guest["load"]) + "\n")
        parts += [_markdown(head, rows(guest)) for head, rows in _GUEST_TABLES]
    return "\n".join(parts)


def plot(report: Mapping[str, Any]) -> str:
    """bench.svg: the costs' bars of each kernel."""
    parts, y = [], 0
    for release, kernel in report["kernels"].items():
        if "cost" in kernel:
            parts += [
                f'<text x="0" y="{y + 20}" {_FONT}>kernel {html.escape(release)}</text>',
                _cost_bars(kernel, y + 24),
            ]
            y += 34 * len(kernel["cost"]["drivers"]) + 44
    return f'<svg {_NAMESPACE} width="900" height="{max(y, 1)}">' + "".join(parts) + "</svg>\n"
