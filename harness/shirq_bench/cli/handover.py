# SPDX-License-Identifier: MIT
"""The commands `shirq bundle` and `shirq replay`: hand a failure on as one file, and play it again."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from shirq_bench.campaigns import again
from shirq_bench.errors import BenchError
from shirq_bench.paths import BUILD
from shirq_bench.replay import bundle as bundles
from shirq_bench.replay import failure
from shirq_bench.replay.bundle import SUFFIX
from shirq_bench.replay.case import Finding
from shirq_bench.replay.failure import Failure, OfSweep

#: Where bundles are unpacked and their runs go.
REPLAYS = BUILD / "replays"
#: The folder of a new run, in the folder of its failure or bundle.
_AGAIN = "again"


@click.command()
@click.argument("folder", metavar="FAILURE", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help=f"Default: NAME{SUFFIX}."
)
@click.option("--without-guest", is_flag=True, help="Leave out the frozen guest of a sweep's violation: 44 MiB less.")
def bundle(folder: Path, output: Path | None, without_guest: bool) -> None:
    """Make one file of a failure, to be played again by `shirq replay` on another machine.

    FAILURE is the folder that a failed test, a case, a sweep, the zoo or `shirq run --artefacts` has left. The bundle
    has the folder, the exact versions, and the sources that the failure needs: the driver, the case, the test's
    project. They must be as they were. A violation of a sweep also gets its frozen guest, so that it happens again to
    the byte. Look into the bundle, which is a zip archive, before you give it away: it has all files of the project
    that git does not ignore.

    \b
    shirq bundle build/sweep/reassert-6.1-1
    shirq bundle build/cases/busy-line/driver -o bug.shirq.zip
    shirq bundle build/artefacts/TEST
    """
    target = output or Path(f"{folder.resolve().name}{SUFFIX}")
    for note in bundles.pack(folder, target, guest=not without_guest):
        click.echo(f"note: {note}")
    click.echo(f"{target}: {target.stat().st_size / (1 << 20):.1f} MiB; elsewhere: shirq replay {target.name}")


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path), metavar="BUNDLE")
@click.option("--trust", is_flag=True, help="Run the bundle's own code on this machine, too: tests, a module's build.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=bundles.LIMIT >> 20,
    show_default=True,
    metavar="MIB",
    help="Refuse a bundle with larger contents.",
)
def replay(path: Path, trust: bool, limit: int) -> None:
    """Play a failure again, and say whether the same was found. Exits with 1 if not.

    BUNDLE is a file of `shirq bundle`, or the folder of a failure on this machine. The verdict names each version that
    differs from those of the failure, and the first entry at which the logs differ. A violation of a sweep whose bundle
    has its guest must give the identical log if all versions are the same: if it does not, that is a failure, too.

    \b
    shirq replay bug.shirq.zip
    shirq replay build/sweep/reassert-6.1-1
    shirq replay --trust test.shirq.zip       a test's bundle runs its project on this machine
    """
    frozen: Path | None = None
    if path.is_file() and path.suffix != ".json":
        name = path.name.removesuffix(SUFFIX)
        if bundles.unsafe(name):
            raise BenchError(f"{path}: rename it: its name must be that of a folder and {SUFFIX}")
        opened = bundles.unpack(path, REPLAYS / name, limit << 20)
        folder, made, frozen = opened.folder, opened.failure, opened.guest
        into = REPLAYS / name / _AGAIN
        if not trust and (code := again.host_code(made, folder)):
            raise BenchError(
                f"{path} was unpacked into {REPLAYS / name}, but not played, because this would run code from it on"
                f" this machine: {'; '.join(code)}. Look at it, and give --trust if you trust it"
            )
    else:
        folder, made = _local(path)
        into = folder / _AGAIN
    click.echo(made.title)
    done = again.play(made, folder, into, frozen)
    for line in done.words(made.found):
        click.echo(line)
    click.echo(f"the new run is in {into}")
    exact = bool(frozen) and not done.differing
    if exact and not all(each.identical for each in done.logs):
        raise click.ClickException("the guest and all versions are the same, so the log should be identical")
    sys.exit(0 if done.same else 1)


def _local(path: Path) -> tuple[Path, Failure]:
    """The failure at a path of this machine: its folder, or the file of a finding, which may be by itself."""
    folder = path if path.is_dir() else path.parent
    if (
        path.is_dir()
        or path.name == failure.FILE
        or (path.name == OfSweep().finding and (folder / failure.FILE).exists())
    ):
        return folder, failure.load(folder)
    found = Finding.load(path)
    return folder, Failure(found.case.title, found.rules, OfSweep(path.name), guests=())


COMMANDS = (bundle, replay)
