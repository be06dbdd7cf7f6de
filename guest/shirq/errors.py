# SPDX-License-Identifier: MIT
"""The exceptions of the binding, and their messages."""

from __future__ import annotations

import errno
import os

from shirq.abi import ProgramKind, Reason


class ShirqError(OSError):
    """A call to the module failed; `errno` is as in kmod/shirq.h; the text gives the cause and the remedy."""

    def __str__(self) -> str:
        return str(self.strerror)

    @classmethod
    def explain(cls, error: int, doing: str, hints: dict[int, str]) -> ShirqError:
        text = hints.get(error, os.strerror(error))
        return cls(error, f"{doing}: {text} ({errno.errorcode.get(error, error)})")


class ProgramRefused(ShirqError):
    """The kernel refused a program: `kind`, `index` of the operation, `reason`, and `operation` as text."""

    def __init__(self, kind: ProgramKind, index: int, reason: int, operation: str) -> None:
        self.kind = kind
        self.index = index
        self.reason: Reason | int = Reason(reason) if reason in set(Reason) else reason
        self.operation = operation
        why = self.reason.text if isinstance(self.reason, Reason) else f"reason {reason}, unknown to this binding"
        super().__init__(
            errno.EINVAL, f"{kind.name.lower()} program refused at operation {index} ({self.operation}): {why}"
        )


class AssemblyError(ValueError):
    """A line that the assembler cannot read: `line` counts from 1."""

    def __init__(self, line: int, text: str, problem: str) -> None:
        self.line = line
        self.text = text.strip()
        self.problem = problem
        super().__init__(f"line {line}: {problem} (in {self.text!r})")
