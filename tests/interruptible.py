# SPDX-License-Identifier: MIT
"""Processes that tests interrupt, whatever the tests themselves were started by."""

from __future__ import annotations

#: Begins the command of a process that Ctrl-C shall end. A shell's background job ignores SIGINT, and so does all that
#: it starts; `env` puts that right and becomes the command.
INTERRUPTIBLE = ("env", "--default-signal=INT")
