# SPDX-License-Identifier: MIT
"""Measures explanations by mutants: whether the place where a mutant's run parts from the product's is the mutant's.

The test or scenario that detects a mutant runs with the mutant and without it, each with a code trace of the guests'
modules. The explanation is right if the function in which the traces part is one that the mutant changes.
"""

from __future__ import annotations

import datetime
import difflib
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shirq_bench import supervisor
from shirq_bench.campaigns import twins
from shirq_bench.campaigns.mutants.mutant import Mutant, boot_guests
from shirq_bench.campaigns.mutants.trial import Bench, apply, copy_checkout, private_cache
from shirq_bench.errors import BenchError
from shirq_bench.paths import BUILD
from shirq_bench.provision import cache
from shirq_bench.replay import codetrace
from shirq_bench.replay.case import Finding
from shirq_bench.replay.codetrace import Parting

#: Where the explained guests are kept, one folder for each mutant.
KEPT = BUILD / "mutants"
#: The sources of modules, whose functions a code trace shows.
_TRACED = ("kmod/", "guest/modules/")
_NAME = re.compile(r"(\w+)\s*\(")


@dataclass(frozen=True)
class Explained:
    """A mutant's explanation. ``changed`` are the functions that it changes, ``by`` is the test or scenario.

    ``named`` is the function that the explanation names and ``line`` its place; both are empty if there is no
    explanation, and ``why`` says the reason. ``by_lines`` is the function that the executed lines alone name, without
    the knowledge which functions have other instructions.
    """

    mutant: Mutant
    changed: tuple[str, ...]
    by: str = ""
    named: str = ""
    line: str = ""
    by_lines: str = ""
    why: str = ""

    @property
    def right(self) -> bool:
        """Whether the named function is one that the mutant changes."""
        return self.named in self.changed


def fits(mutant: Mutant) -> bool:
    """Whether a guest detects the mutant, and its change is in a module's code."""
    return mutant.has_guest and all(name.startswith(_TRACED) for name in mutant.files)


def explain(top: Path, mutant: Mutant, kernel: str, tell: Callable[[str], None] = lambda _: None) -> Explained:
    """Explain a mutant of the checkout ``top``, in guests with ``kernel`` unless the mutant names another one."""
    kernel = mutant.kernel or kernel
    with (
        supervisor.owned_directory("shirq-explain-") as place,
        supervisor.owned_directory("shirq-explain-none-") as clean,
    ):
        for tree in (place / "tree", clean / "tree"):
            copy_checkout(top, tree)
        before = {name: (place / "tree" / name).read_text() for name in mutant.files}
        if refused := apply(mutant.diff, place / "tree"):
            raise BenchError(f"mutant {mutant.name} does not apply: {refused}")
        after = {name: (place / "tree" / name).read_text() for name in mutant.files}
        changed = functions(before, after)
        modules = place / "kmod"
        modules.mkdir()
        mutated = Bench(place / "tree", kernel, place, private_cache(mutant, place, modules))
        sound = Bench(clean / "tree", kernel, clean, cache.root())
        tell("with the mutant")
        by, folder = _detected(mutant, mutated)
        if not folder:
            return Explained(mutant, changed, why=by)
        tell(f"{by} without it")
        passed, why = _sound(by, sound, folder)
        if why:
            return Explained(mutant, changed, by, why=why)
        pair = _part(folder, passed, mutant)
        if not pair:
            return Explained(mutant, changed, by, why="both runs executed the same lines, or a guest has no trace")
        parting, lines = pair
        return Explained(
            mutant, changed, by, parting.line.function, str(parting.line), lines.line.function if lines else ""
        )


def _detected(mutant: Mutant, bench: Bench) -> tuple[str, list[Path]]:
    """The test or scenario that detects the mutant, and its guests' folders; or why there are none."""
    guests = [test for test in mutant.tests if boot_guests([test])]
    # If sweeps are named, all tests pass.
    if guests and not mutant.sweep:
        artefacts = bench.place / "artefacts"
        failed = bench.outcomes(guests, *_options(artefacts), "-x")
        if found := next((test for test in failed if test.outcome == "failed"), None):
            return found.id, _numbered(artefacts.glob(f"*/vm*/{codetrace.FILE}"))
    for scenario in mutant.sweep:
        if findings := bench.findings(scenario):
            return scenario, [findings[0].parent]
    return "no test in a guest and no sweep has detected it, or a sweep failed without its second stimulus", []


def _sound(by: str, bench: Bench, failed: Sequence[Path]) -> tuple[list[Path], str]:
    """The folders of the same guests without the mutant; or why there are none."""
    if by.startswith("tests/"):
        artefacts = bench.place / "artefacts"
        (outcome, *_) = bench.outcomes([by], *_options(artefacts))
        if outcome.outcome != "passed":
            return [], f"without the mutant the test fails, too: {outcome.message.partition(chr(10))[0]}"
        return _numbered(artefacts.glob(f"passed/*/*/{codetrace.FILE}")), ""
    folder = bench.place / "reference"
    found = Finding.load(failed[0] / "finding.json")
    broken = twins.record(found.case, folder).all()
    return [folder], "; ".join(violation.what for violation in broken)


def _options(artefacts: Path) -> tuple[str, ...]:
    return ("--shirq-explain", f"--shirq-artefacts={artefacts}")


def _numbered(traces: Iterable[Path]) -> list[Path]:
    """The folders of traces, in the order of the numbers at their ends."""
    return sorted((file.parent for file in traces), key=lambda folder: int(folder.name.removeprefix("vm")))


def _part(failed: Sequence[Path], passed: Sequence[Path], mutant: Mutant) -> tuple[Parting, Parting | None] | None:
    """Where the first pair of guests parts, and where by the executed lines alone; its files are kept."""
    for one, other in zip(failed, passed, strict=False):
        if parting := twins.write(one, other, (f"with the mutant {mutant.name}", "without it"), [mutant.title]):
            kept = KEPT / mutant.name
            shutil.rmtree(kept, ignore_errors=True)
            for folder, name in ((one, "with"), (other, "without")):
                (kept / name).mkdir(parents=True)
                for file in (twins.TEXT, twins.PAGE, codetrace.FILE):
                    if (folder / file).exists():
                        shutil.copyfile(folder / file, kept / name / file)
            return parting, twins.part(one, other, codetrace.by_lines)
    return None


def functions(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """The C functions in which files differ, given the texts of the files before and after a change."""
    found: dict[str, None] = {}
    for name, text in before.items():
        texts = (text, after[name])
        matcher = difflib.SequenceMatcher(None, texts[0].splitlines(), texts[1].splitlines(), autojunk=False)
        for what, first, last, new_first, new_last in matcher.get_opcodes():
            if what != "equal":
                found |= dict.fromkeys(_enclosing(texts[0], number) for number in range(first + 1, last + 1))
                found |= dict.fromkeys(_enclosing(texts[1], number) for number in range(new_first + 1, new_last + 1))
    return tuple(name for name in found if name)


def _enclosing(text: str, number: int) -> str:
    """The function that line ``number`` of a C file in the kernel's style is in; empty if it is in none."""
    lines = text.splitlines()
    after = next((n for n, line in enumerate(lines[number - 1 :], number) if line.startswith("}")), len(lines))
    before = next((n for n in range(number - 1, 0, -1) if lines[n - 1].startswith("}")), 0)
    brace = next((n for n in range(before + 1, after) if lines[n - 1].startswith("{")), 0)
    # The signature is above the brace, perhaps on several lines, and ends the text before it.
    first = next((n for n in range(brace - 1, before, -1) if not lines[n - 1].strip()), before)
    signature = _NAME.search(" ".join(lines[first:brace]))
    return signature[1] if signature and first < number else ""


def data(explained: Sequence[Explained], kernel: str) -> dict[str, Any]:
    """The report's content."""
    return {
        "kernel": kernel,
        "date": datetime.date.today().isoformat(),
        "right": sum(each.right for each in explained),
        "right_by_lines": sum(each.by_lines in each.changed for each in explained),
        "total": len(explained),
        "mutants": [
            {
                "name": each.mutant.name,
                "changed": list(each.changed),
                "by": each.by,
                "named": each.named,
                "line": each.line,
                "by_lines": each.by_lines,
                "why": each.why,
                "right": each.right,
            }
            for each in explained
        ],
    }
