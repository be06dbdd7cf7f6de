# SPDX-License-Identifier: MIT
"""What can go wrong with a guest. Every message names the VM."""

from __future__ import annotations


class BenchError(Exception):
    """Anything that the bench itself reports."""


class CannotJudge(BenchError):
    """The evidence that a verdict needs is missing: neither a pass nor a failure of what was to be judged."""


class DeadlineExceeded(BenchError):
    """Something did not happen within its deadline."""


class VmDied(BenchError):
    """The QEMU process ended though nobody asked it to."""


class AgentGone(BenchError):
    """The agent channel is closed or its agent was replaced."""


class CommandFailed(BenchError):
    """A guest command did not do what it was asked to."""


class QmpFailed(BenchError):
    """QEMU refused a command or the QMP connection is closed."""
