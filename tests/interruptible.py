# SPDX-License-Identifier: MIT
"""Processes that tests interrupt, however the tests themselves were started."""

from __future__ import annotations

#: Prefix for the command of a process that Ctrl-C must end. Background jobs of a shell and their children ignore
#: SIGINT; `env` restores the default and executes the command.
INTERRUPTIBLE = ("env", "--default-signal=INT")
