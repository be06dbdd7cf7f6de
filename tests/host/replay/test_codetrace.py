# SPDX-License-Identifier: MIT
"""A code trace names source lines, and two traces part where one run executes what the other does not."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from shirq_bench.errors import BenchError
from shirq_bench.observe import source_lines
from shirq_bench.replay import codetrace
from shirq_bench.replay.codetrace import CodeTrace, Line
from shirq_bench.replay.symbols import Symbols

EVENT = (-1, 0)
_BASE = 0xFFFFFFFFC0000000
_SOURCE = """\
volatile int seen;

static inline void look(int x)
{
	seen = x;
}

void asked(int x)
{
	if (x > 3)
		look(x);
	seen = 7;
}
"""


def _line(function: str, number: int, text: str = "") -> Line:
    return Line(function, "m.c", number, text or f"line {number}", function)


def _trace(*steps: tuple[str, int] | None, cpu: int = 0) -> CodeTrace:
    """Return a trace of lines, each a function and a number; None is an event of a device."""
    lines = list(dict.fromkeys(_line(*step) for step in steps if step))
    order = tuple((cpu, lines.index(_line(*step))) if step else EVENT for step in steps)
    return CodeTrace(tuple(lines), order)


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an object file with debugging information, like a module's, beside its source."""
    folder = tmp_path_factory.mktemp("module")
    (folder / "m.c").write_text(_SOURCE)
    subprocess.run(["gcc", "-g", "-O1", "-c", "m.c", "-o", "m.ko"], cwd=folder, check=True)
    return folder / "m.ko"


def test_blocks_become_lines_with_inlined_functions(module: Path, tmp_path: Path) -> None:
    said = subprocess.run(["objdump", "-d", "--no-show-raw-insn", module], capture_output=True, text=True, check=True)
    addresses = [int(text.split(":")[0], 16) for text in said.stdout.splitlines() if text.startswith(" ")]
    raw = tmp_path / "blocks"
    blocks = [f"Trace 1: 0x7f [00000000/{_BASE + address:x}/0040c2b0/ff022200] \n" for address in addresses]
    other = f"Trace 1: 0x7f [00000000/{_BASE + 0x900000:x}/0040c2b0/ff022200] \n"
    raw.write_text(
        "".join(["shirq_edu_pin /machine/peripheral/dev0: level 1\n", *blocks, other, "some other output\n"])
    )
    names = Symbols([(_BASE, "asked [m]"), (_BASE + 0x800000, "foreign [other]")], [])
    trace = codetrace.read(raw, names, {"m": module}, {"m.c": module.with_name("m.c")})
    assert trace.order[0] == EVENT and all(cpu == 1 for cpu, _ in trace.order[1:])
    found = {(line.function, line.line, line.text) for line in trace.lines}
    assert {("asked", 10, "if (x > 3)"), ("look", 5, "seen = x;"), ("asked", 12, "seen = 7;")} <= found
    assert {line.symbol for line in trace.lines} == {"asked"}
    assert trace.lines[0].file == "m.c"


def test_trace_of_a_storm_is_read_up_to_a_limit(module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = tmp_path / "blocks"
    raw.write_text("shirq_edu_read x\n" * 100)
    monkeypatch.setattr(codetrace, "_MOST", 170)
    trace = codetrace.read(raw, Symbols([], []), {}, {})
    assert trace.order == (EVENT,) * 10


def test_exact_runs_part_at_the_first_line_that_differs() -> None:
    """What comes before the first event of a device is not compared: the guests may have another history."""
    one = _trace(("f", 9), None, ("f", 1), ("f", 2), ("g", 5), ("f", 3))
    other = _trace(None, ("f", 1), ("f", 2), ("f", 3), ("g", 5))
    found = codetrace.part(one, other, exact=True)
    assert found and (found.line.function, found.line.line) == ("g", 5)
    assert [line.line for line in found.before] == [1, 2]
    assert found.instead and found.instead.line == 3
    said = codetrace.words(found, ("mine", "yours"))
    assert said[0] == "They part in g() at m.c:5, `line 5`, which mine alone executes there."
    assert said[1] == "yours executes f() at m.c:3, `line 3` instead."
    assert said[2] == "Before this, mine executed f() at m.c:1, `line 1`; f() at m.c:2, `line 2`."


def test_exact_run_that_ends_earlier_parts_at_its_end() -> None:
    one, other = _trace(None, ("f", 1)), _trace(None, ("f", 1), ("f", 2))
    found = codetrace.part(one, other, exact=True)
    assert found and found.which == 1 and found.line.line == 2 and found.instead is None


def test_runs_of_several_processors_part_at_a_line_of_one_alone() -> None:
    """The order is by chance; the line that ran earliest in its run counts."""
    one = _trace(("g", 7), None, ("f", 1), ("f", 3), None, ("h", 8))
    other = _trace(None, ("f", 1), ("f", 2), ("f", 3), ("g", 7), None, ("f", 4))
    found = codetrace.part(one, other)
    assert found and found.which == 1 and found.line.line == 2


def test_runs_with_the_same_lines_part_at_a_step_of_one_alone() -> None:
    """An interrupt between two lines of a function is no step of this function."""
    well = (("f", 1), ("f", 2), ("f", 3))
    interrupted = _trace(None, ("f", 1), ("g", 7), ("f", 2), ("f", 3), *well)
    assert codetrace.part(interrupted, _trace(None, *well, ("g", 7), *well)) is None
    skips = _trace(None, ("g", 7), *well, ("f", 1), ("f", 3))
    found = codetrace.part(skips, interrupted)
    assert found and found.which == 0 and found.line.line == 3


def test_lines_of_two_builds_are_the_same_if_their_texts_are() -> None:
    moved = CodeTrace((replace(_line("f", 1), line=41), replace(_line("f", 2), line=42)), ((0, 0), (0, 1)))
    assert codetrace.part(_trace(("f", 1), ("f", 2)), moved) is None
    assert codetrace.part(_trace(None, ("f", 1), ("f", 2)), moved, exact=True) is None


def _built(trace: CodeTrace, **code: str) -> CodeTrace:
    """Return the trace of a build whose machine functions have these instructions."""
    return replace(trace, code={name: {name: text} for name, text in code.items()})


def test_builds_part_in_the_function_that_has_other_instructions() -> None:
    """A consequence in another function may come first, and does not count."""
    one = _built(_trace(None, ("g", 7), ("f", 1), ("f", 3)), f="mov", g="add")
    other = _built(_trace(None, ("f", 1), ("f", 2), ("f", 3)), f="or", g="add")
    for exact in (True, False):
        found = codetrace.part(one, other, exact)
        assert found and (found.line.function, found.line.line, found.which) == ("f", 2, 1)
    alone = codetrace.by_lines(one, other)
    assert alone and alone.line.function == "g"


def test_function_with_other_instructions_and_the_same_lines_is_named() -> None:
    steps = (None, ("g", 7), ("f", 1), ("f", 3))
    one, other = (_built(_trace(*steps), f=text, g="add") for text in ("mov $0", "mov $1"))
    found = codetrace.part(one, other, exact=True)
    assert found and (found.line.function, found.line.line) == ("f", 1)
    assert codetrace.part(one, one, exact=True) is None


def test_instructions_are_compared_without_addresses(module: Path, tmp_path: Path) -> None:
    """A function that is moved has the same text, one that changes has another."""
    text = module.with_name("m.c").read_text()
    moved = text.replace("void asked", "int first(void)\n{\n\treturn seen + 4;\n}\n\nvoid asked")
    codes = []
    for number, source in enumerate((text, moved, text.replace("seen = 7", "seen = 8"))):
        (tmp_path / "m.c").write_text(source)
        made = tmp_path / f"{number}.ko"
        subprocess.run(["gcc", "-g", "-O1", "-c", "m.c", "-o", made], cwd=tmp_path, check=True)
        codes.append(source_lines.codes(made, ["asked"])["asked"])
    assert codes[0] == codes[1] and set(codes[0]) == {"asked", "look"}
    assert codes[0]["asked"] != codes[2]["asked"] and codes[0]["look"] == codes[2]["look"]


def test_trace_is_saved_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    trace = _trace(None, ("f", 1), ("g", 2))
    assert codetrace.load(tmp_path) is None
    trace.save(tmp_path)
    assert codetrace.load(tmp_path) == trace
    for text in ("{}", "[", '{"lines": [], "order": [[0, 4]]}', '{"lines": [{"x": 1}], "order": []}'):
        (tmp_path / codetrace.FILE).write_text(text)
        with pytest.raises(BenchError, match="is no code trace"):
            codetrace.load(tmp_path)
