# SPDX-License-Identifier: MIT
"""Makes processes that tests interrupt by SIGINT independent of how the tests were started."""

from __future__ import annotations

#: A prefix for the command of a process that SIGINT must end. Background jobs of a shell and their children ignore
#: SIGINT; `env` restores the default action and executes the command.
INTERRUPTIBLE = ("env", "--default-signal=INT")
