# SPDX-License-Identifier: MIT
"""`shirq fuzz`: the emulated device under random accesses."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click

from shirq_bench.campaigns import fuzz
from shirq_bench.provision.steps import say


@click.command("fuzz")
@click.option("--accesses", type=click.IntRange(1), default=1_000_000, show_default=True, metavar="N")
@click.option("--states", type=click.IntRange(0), default=200, show_default=True, metavar="N", help="Damaged states.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed; equal seeds give equal accesses.")
def command(accesses: int, states: int, seed: int) -> None:
    """Fuzz the emulated device in a QEMU built with sanitizers.

    Fails if a sanitizer reports an error, if QEMU ends, if a rewind does not return a device to its savepoint, or if
    QEMU neither loads nor refuses a damaged state.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="shirq-fuzz-") as directory:
        done = fuzz.run(accesses, states, seed, Path(directory))
    say(
        f"fuzzed with {done.accesses} accesses, {done.rewinds} rewinds and {done.states} damaged states, of which "
        f"{done.loaded} were loaded, seed {seed}: no failure, {time.monotonic() - began:.0f} s"
    )
