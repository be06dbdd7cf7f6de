# SPDX-License-Identifier: MIT
"""Finds splats, the kernel's own complaints, in a kernel log, by the rule files splats-deny and splats-allow.

Unreadable rules are findings, too, and so are files that cannot be a kernel log (empty, binary, without the guest's
first message).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

#: The folder of the rule files.
RULES = Path(__file__).parent
#: The rules for splats.
DENY = RULES / "splats-deny"
#: A log must contain one of these texts. The first begins a complete kernel log. A console shows only severe messages,
#: but always the second.
_BANNER = re.compile(r"Linux version \d|shirq: the guest is up")
_STAMP = re.compile(r"^(<\d+>)?\[ *\d+\.\d+\](\[ *[TC]\d+\])? ?")
_OPENING = re.compile(r"-+\[ cut here \]|^={20,}$")
_CLOSING = re.compile(r"---\[ end |^={20,}$")
#: The end of a call trace, and how many lines after it may still belong to the report.
_TRACE_END, _BEHIND_TRACE = "</TASK>", 8
#: Maximum number of lines of an excerpt, and of an excerpt without a call trace.
_LONGEST, _SHORT = 100, 12


@dataclass(frozen=True)
class Rule:
    """One rule of a rule file: its expression, and the reason why a matching line is (or is not) a splat."""

    pattern: re.Pattern[str]
    why: str


@dataclass(frozen=True)
class Splat:
    """A finding. ``rule`` is the expression that matched, or the error in the log or the rules.

    ``line`` counts from 1; 0 means the log as a whole. ``excerpt`` is the report, call trace included.
    """

    rule: str
    why: str
    line: int = 0
    excerpt: str = ""

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        return f"{where}{self.rule} ({self.why})" + (f"\n{self.excerpt}" if self.excerpt else "")


class RulesError(ValueError):
    """A rule file is unusable; the message says which line and why."""


@functools.cache
def rules(path: Path) -> tuple[Rule, ...]:
    """The rules in a file. Raises `RulesError` if it cannot be read or a line is not a rule with a reason."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RulesError(f"{path.name} cannot be read: {error}") from error
    found: list[Rule] = []
    comment: list[str] = []
    for number, line in enumerate(lines, 1):
        if line.startswith("#"):
            comment.append(line[1:].strip())
            continue
        if line.strip():
            if not comment:
                raise RulesError(f"{path.name}:{number}: {line!r} has no comment above it with the reason")
            try:
                found.append(Rule(re.compile(line), " ".join(comment)))
            except re.error as error:
                raise RulesError(f"{path.name}:{number}: {line!r} is not a regular expression: {error}") from error
        comment = []
    return tuple(found)


def scan(log: str | bytes, directory: Path = RULES, *, after: int = 0, forgiven: Collection[str] = ()) -> list[Splat]:
    """The splats in a kernel log or a console's output, in order; matches within a splat's excerpt belong to it.

    ``directory`` holds the rule files. The first ``after`` lines, and lines that match one of the rules ``forgiven``,
    begin no splat. A damaged log is always a finding.
    """
    try:
        deny, allow = rules(directory / "splats-deny"), rules(directory / "splats-allow")
    except RulesError as error:
        return [Splat("the rules", str(error))]
    if not deny:
        return [Splat("the rules", "splats-deny holds no rule: nothing would ever be found")]
    text = log.decode("utf-8", errors="replace") if isinstance(log, bytes) else log
    lines = text.splitlines()
    found = _unfit(text, lines)

    def complaint(number: int) -> Rule | None:
        rule = next((rule for rule in deny if rule.pattern.search(lines[number])), None)
        if rule and (rule.pattern.pattern in forgiven or any(rule.pattern.search(lines[number]) for rule in allow)):
            return None
        return rule

    number = after
    while number < len(lines):
        rule = complaint(number)
        if rule is None:
            number += 1
            continue
        first, end = _report(lines, number, complaint)
        found.append(Splat(rule.pattern.pattern, rule.why, number + 1, "\n".join(lines[first:end])))
        number = end
    return found


def scan_file(path: Path, directory: Path = RULES) -> list[Splat]:
    """`scan` of a file; an unreadable file is reported as a finding."""
    try:
        return scan(path.read_bytes(), directory)
    except OSError as error:
        return [Splat("the log", f"cannot be read: {error}")]


def _unfit(text: str, lines: Sequence[str]) -> list[Splat]:
    """A finding if this is not a complete kernel log, because the absence of splats in it would prove nothing."""
    if not text.strip():
        return [Splat("the log", "it is empty")]
    if bad := next((n for n, line in enumerate(lines, 1) if "\0" in line or "\ufffd" in line), 0):
        return [Splat("the log", "it is binary, or damaged", bad)]
    if not _BANNER.search(text):
        return [Splat("the log", "it does not hold the guest's first messages: its beginning is lost")]
    return []


def _report(lines: Sequence[str], at: int, complaint: Callable[[int], Rule | None]) -> tuple[int, int]:
    """Where the report around line ``at`` begins and ends (the end is exclusive).

    A report without a call trace ends at the next ``complaint``, which is a report of its own.
    """

    def said(number: int) -> str:
        return _STAMP.sub("", lines[number]).rstrip()

    first = at
    while first > max(at - 2, 0) and _OPENING.search(said(first - 1)):
        first -= 1
    limit = min(at + _LONGEST, len(lines))
    trace_end = at
    for number in range(at + 1, limit):
        if _CLOSING.search(said(number)):
            # A line of `=` opens lockdep's next report, but closes a report of KASAN.
            own = first < at or not _OPENING.search(said(number))
            return first, number + 1 if own else number
        if _OPENING.search(said(number)):
            limit = number
            break
        if _TRACE_END in lines[number]:
            trace_end = number
    if trace_end > at:
        return first, min(limit, trace_end + 1 + _BEHIND_TRACE)
    end = min(limit, at + _SHORT)
    return first, next((number for number in range(at + 1, end) if complaint(number)), end)
