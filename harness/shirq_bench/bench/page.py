"""The report for people: one page, with plots, that needs nothing else; and the tables of docs/performance.md."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shirq_bench.bench.contender import CONTENDERS
from shirq_bench.bench.targets import judge

#: Functions that a profile's table shows.
_FUNCTIONS = 40
_COLOURS = {"hard": "#3b6ea5", "awake": "#8fb3d9", "enabled": "#d99a3b"}
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: 1em 0 } td, th { padding: .2em .7em; text-align: right }
th { border-bottom: 1px solid #888 } td:first-child, th:first-child { text-align: left }
.missed { color: #a33 } .met { color: #262 } details { margin: .5em 0 } svg text { font: 13px system-ui, sans-serif }
"""
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
    return ("driver", "highest rate", *(f"left beside {int(rate):,}/s" for rate in first["left"]))


def _rate_rows(kernel: Mapping[str, Any]) -> Iterable[_Row]:
    for name, figures in kernel["rate"].items():
        yield (name, figures["highest"], *(f"{part:.1%}" for part in figures["left"].values()))


def _bars(kernel: Mapping[str, Any]) -> str:
    """A bar for each driver: instructions until the end of the hard part, until awake, until enabled."""
    drivers = kernel["cost"]["drivers"]
    most = max(phases["regular"]["enabled"]["median"] for phases in drivers.values())
    parts = [f'<svg width="900" height="{34 * len(drivers) + 10}" role="img">']
    for row, (name, phases) in enumerate(drivers.items()):
        regular = phases["regular"]
        ends = [("enabled", regular["enabled"]["median"])]
        if "awake" in regular:
            ends = [*ends, ("awake", regular["awake"]["median"]), ("hard", regular["hard"]["median"])]
        y = 34 * row + 8
        parts.append(f'<text x="0" y="{y + 15}">{name}</text>')
        for figure, value in ends:
            width = 680 * value / most
            parts.append(f'<rect x="130" y="{y}" width="{width:.1f}" height="22" fill="{_COLOURS[figure]}"/>')
        parts.append(f'<text x="{135 + 680 * ends[0][1] / most:.1f}" y="{y + 15}">{ends[0][1]:,g}</text>')
    return "".join(parts) + "</svg>\n"


def _profile(kernel: Mapping[str, Any]) -> str:
    profiles = {name: profile["functions"] for name, profile in kernel["profile"].items()}
    most: dict[str, float] = {}
    for functions in profiles.values():
        for function, count in functions.items():
            most[function] = max(count, most.get(function, 0))
    chosen = sorted(most, key=lambda function: -most[function])[:_FUNCTIONS]
    chosen += sorted(function for function in most if "shirq" in function and function not in chosen)
    rows = (
        [function, *(round(functions.get(function, 0), 1) for functions in profiles.values())] for function in chosen
    )
    return "<details><summary>Instructions by function</summary>" + _table(["function", *profiles], rows) + "</details>"


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
            body += [_bars(kernel), _table(_COST_HEAD, _cost_rows(kernel))]
            body += ["<h3>Targets</h3>", _table(_TARGET_HEAD, _target_rows(kernel)), f"<p>{_reason(kernel)}</p>"]
            body += ["<h3>The neighbour's interrupt</h3>", _table(_NEIGHBOUR_HEAD, _neighbour_rows(kernel))]
            body.append(_profile(kernel))
        if "rate" in kernel:
            body += ["<h3>Rates, of guest time at 10<sup>9</sup> instructions a second</h3>"]
            body.append(_table(_rate_head(kernel), _rate_rows(kernel)))
    if "guest" in report:
        body += ["<h2>What a guest costs</h2>", _table(["figure", "value"], report["guest"].items())]
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
    if "guest" in report:
        parts += ["## What a guest costs\n", _markdown(("figure", "value"), report["guest"].items())]
    return "\n".join(parts)
