# SPDX-License-Identifier: MIT
"""The errors of the bench. A message about a guest names its VM."""

from __future__ import annotations


class BenchError(Exception):
    """An error that the bench itself reports."""


class CannotJudge(BenchError):
    """The evidence that a verdict needs is missing: the judged rule has neither passed nor failed."""


class DeadlineExceeded(BenchError):
    """An awaited event did not come within its deadline."""


class VmDied(BenchError):
    """The QEMU process ended unexpectedly."""


class AgentGone(BenchError):
    """The channel to the guest's agent is closed, or the agent was started again."""


class CommandFailed(BenchError):
    """A guest command failed."""


class QmpFailed(BenchError):
    """QEMU refused a command or the QMP connection is closed."""


class QmpClosed(QmpFailed):
    """The QMP connection is closed: QEMU has ended, or ends."""
