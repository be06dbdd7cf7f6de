"""`make shell`: boot the demo's guest and attach the terminal to its console."""

from __future__ import annotations

import argparse
import sys

from shirq_bench import template
from shirq_bench.build.steps import say
from shirq_bench.errors import BenchError
from shirq_bench.machine import ADDRESSES, SHARED_LINE


def main() -> int:
    """The command line of `make shell`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kernel", default="6.1")
    options = parser.parse_args()
    if not sys.stdin.isatty():
        print("shirq: this verb attaches a terminal, and standard input is none", file=sys.stderr)
        return 2
    try:
        with template.clone(SHARED_LINE.with_(kernel=options.kernel), name="shell") as vm:
            vm.boot()
            where = ", ".join(f"{name} at {address}" for name, address in ADDRESSES.items())
            say(f"the guest is up: {where}; try `shirq-edu {ADDRESSES['dev0']}`; Ctrl-] leaves")
            vm.console.sendline()
            vm.console.interact()
    except BenchError as error:
        print(f"shirq: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
