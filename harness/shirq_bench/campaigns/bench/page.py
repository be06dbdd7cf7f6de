# SPDX-License-Identifier: MIT
"""Writes the report as one self-contained page with plots, and the tables of docs/performance.md."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from shirq_bench import pages
from shirq_bench.campaigns.bench.contender import CONTENDERS, POLLING, SPINNING
from shirq_bench.campaigns.bench.guests import WORKERS
from shirq_bench.campaigns.bench.rate import RATES
from shirq_bench.campaigns.bench.targets import judge

#: Number of functions in a profile's table.
_FUNCTIONS = 60
#: Number of functions in the document's table.
_DOCUMENTED = 20
COLOURS = {"hard": "#3b6ea5", "awake": "#8fb3d9", "enabled": "#d99a3b"}
_Row = Sequence[object]
#: For each row of a plot, the bars' values and colours.
_Bars = Mapping[str, Sequence[tuple[float, str]]]


_COST_HEAD = (
    *("driver", "wake-up latency", "p99", "round trip", "p99", "hardirq time", "instructions in all"),
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


_SPIN_HEAD = (
    *("driver that spins", "handler, to the event in the ring", "driver, to its first store", "driver, to the unmask"),
    *("round trip", "system calls", "registers", "config", "reads", "instructions of waiting", "system calls in it"),
)


def _spin_rows(spin: Mapping[str, Any]) -> Iterable[_Row]:
    handler, store, enabled = spin["handler"], spin["store"]["median"], spin["enabled"]["median"]
    counts = (spin[count] for count in ("calls", "registers", "config", "reads", "waiting", "waiting_calls"))
    yield SPINNING.name, handler, store, enabled, handler + enabled, *counts


_TARGET_HEAD = ("target", "measured", "at most", "")


def _target_rows(kernel: Mapping[str, Any]) -> Iterable[_Row]:
    for target in judge(kernel):
        yield target.what, round(target.value, 3), round(target.limit, 3), "met" if target.met else "missed"


_RATE_HEAD = ("driver", "highest rate", "least", "most", *(f"CPU time left at {rate:,}/s" for rate in RATES))


def _rate_rows(kernel: Mapping[str, Any]) -> Iterable[_Row]:
    for name, figures in kernel["rate"].items():
        highest = [figures["highest"][figure] if figures["highest"] else "-" for figure in ("median", "least", "most")]
        left = [f"{figures['left'][str(rate)]:.1%}" if figures["left"] else "-" for rate in RATES]
        yield name, *highest, *left


def _cost_bars(kernel: Mapping[str, Any]) -> _Bars:
    """For each driver, the instructions from the assertion to the end of the round trip, to the wake-up, to the EOI."""
    rows = {}
    for name, phases in kernel["cost"]["drivers"].items():
        regular = phases["regular"]
        figures = ("enabled", "awake", "hard") if "awake" in regular else ("enabled",)
        rows[name] = [(regular[figure]["median"], COLOURS[figure]) for figure in figures]
    return rows


def _growth(points: Mapping[str, float], across: str, up: str) -> tuple[Sequence[tuple[float, float, str]], str, str]:
    """The points and labels of a plot with logarithmic axes, in which proportional growth is a line of slope 1."""
    xs = [math.log10(float(x)) for x in points]
    ys = [math.log10(y) for y in points.values()]
    decades = max(max(xs) - min(xs), max(ys) - min(ys))
    places = [
        (40 + 360 * (x - min(xs)) / decades, 400 - 360 * (y - min(ys)) / decades, f"{count}: {pages.figure(value)}")
        for x, y, (count, value) in zip(xs, ys, points.items(), strict=True)
    ]
    return places, f"{across}: {up}", COLOURS["hard"]


def _profile_rows(kernel: Mapping[str, Any], functions: int) -> Iterable[_Row]:
    """The functions with the most instructions, in any driver's interrupt."""
    profiles = [profile["functions"] for profile in kernel["profile"].values()]
    most = {name: max(found.get(name, 0) for found in profiles) for found in profiles for name in found}
    for name in sorted(most, key=lambda name: -most[name])[:functions]:
        yield name, *(round(found.get(name, 0)) for found in profiles)


def _profile_head(kernel: Mapping[str, Any]) -> Sequence[str]:
    return ("function", *kernel["profile"])


_WAYS_HEAD = (
    *("guest", "first command, ms", "least", "most", "CPU time, ms", "private MiB"),
    *(f"guests/s, {workers} at a time" for workers in WORKERS),
)


def _way_rows(guest: Mapping[str, Any]) -> Iterable[_Row]:
    for kind, figures in guest["ways"].items():
        first = [figures["first_command_ms"][figure] for figure in ("median", "least", "most")]
        used = figures["processor_ms"]["median"]
        yield kind, *first, used, figures["private_mib"], *figures["per_second"].values()


_LINE_HEAD = (
    "devices on the line",
    "clone to first command, ms",
    "CPU time, ms",
    "hardirq instructions",
)


def _line_rows(guest: Mapping[str, Any]) -> Iterable[_Row]:
    for devices, figures in guest["line"].items():
        yield devices, *(figures[figure]["median"] for figure in ("first_command_ms", "processor_ms", "hard"))


_SUITES_HEAD = ("tests", "seconds", "ms per test")


def _suite_rows(guest: Mapping[str, Any]) -> Iterable[_Row]:
    for tests, seconds in guest["suites"].items():
        yield tests, seconds, round(seconds / int(tests) * 1000)


_LOAD = (
    "The machine's load was {:g} at the beginning. If it is not near 0, an idle machine needs less wall-clock time than"
    " this; the CPU times hardly depend on the load."
)
_GUEST_TABLES = ((_WAYS_HEAD, _way_rows), (_SUITES_HEAD, _suite_rows), (_LINE_HEAD, _line_rows))


def _kernels(report: Mapping[str, Any], functions: int) -> Iterator[dict[str, Any]]:
    """The values for the templates, for each kernel. A table is a pair of its head and its rows."""
    for release, kernel in report["kernels"].items():
        shown: dict[str, Any] = {"release": release, "targets": (_TARGET_HEAD, _target_rows(kernel))}
        if "cost" in kernel:
            shown["bars"] = _cost_bars(kernel)
            shown["cost"] = _COST_HEAD, _cost_rows(kernel)
            shown["reason"] = _reason(kernel)
            shown["neighbour"] = _NEIGHBOUR_HEAD, _neighbour_rows(kernel)
            shown["spin"] = _SPIN_HEAD, _spin_rows(kernel["spin"])
            shown["profile"] = _profile_head(kernel), _profile_rows(kernel, functions)
        if "rate" in kernel:
            shown["highest"] = {
                name: [(figures["highest"]["median"], COLOURS["hard"])]
                for name, figures in kernel["rate"].items()
                if figures["highest"]
            }
            shown["rate"] = _RATE_HEAD, _rate_rows(kernel)
        yield shown


def _guest(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """The values for the templates about guests; None if guests were not measured."""
    if not (guest := report.get("guest")):
        return None
    hard = {devices: figures["hard"]["median"] for devices, figures in guest["line"].items()}
    return {
        "kernel": guest["kernel"],
        "load": _LOAD.format(guest["load"]),
        "first": {kind: [(f["first_command_ms"]["median"], COLOURS["hard"])] for kind, f in guest["ways"].items()},
        "growths": [
            _growth(hard, "devices on the line", "hardirq instructions"),
            _growth(guest["suites"], "tests", "seconds"),
        ],
        "tables": [(head, rows(guest)) for head, rows in _GUEST_TABLES],
    }


def page(report: Mapping[str, Any]) -> str:
    """bench.html, from the content of bench.json."""
    return pages.render(
        __package__,
        "page.html",
        css=pages.verbatim(__package__, "page.css"),
        date=report["date"],
        machine=report["machine"],
        contenders=(*CONTENDERS.values(), SPINNING, POLLING),
        kernels=_kernels(report, _FUNCTIONS),
        guest=_guest(report),
    )


def _reason(kernel: Mapping[str, Any]) -> str:
    drivers = kernel["cost"]["drivers"]
    floor, uio = (drivers[name]["regular"]["enabled"]["median"] for name in ("wake", "uio_pci_generic"))
    return (
        f"The round trip of a driver that only wakes a reader is {floor / uio:.2f} of uio_pci_generic's. Waking"
        " a process and switching to it takes most of any round trip; a driver whose user program sleeps cannot be"
        " faster."
    )


def document(report: Mapping[str, Any]) -> str:
    """The measured part of docs/performance.md."""
    kernels, guest = _kernels(report, _DOCUMENTED), _guest(report)
    text = pages.render(__package__, "document.md", date=report["date"], kernels=kernels, guest=guest)
    return f"{text.rstrip()}\n"


def plot(report: Mapping[str, Any]) -> str:
    """bench.svg: the bars of the costs, for each kernel."""
    kernels, y = [], 0
    for release, kernel in report["kernels"].items():
        if "cost" in kernel:
            kernels.append((release, y, _cost_bars(kernel)))
            y += 34 * len(kernel["cost"]["drivers"]) + 44
    return pages.render(__package__, "costs.svg", kernels=kernels, height=y)
