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
@click.option("--seed", type=int, default=1, show_default=True, help="Seed; equal seeds give equal accesses.")
def command(accesses: int, seed: int) -> None:
    """Fuzz the emulated device in a QEMU built with sanitizers; fails if a sanitizer reports an error or QEMU ends."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="shirq-fuzz-") as directory:
        count = fuzz.run(accesses, seed, Path(directory))
    say(f"fuzzed with {count} accesses, seed {seed}: no sanitizer report, {time.monotonic() - began:.0f} s")
