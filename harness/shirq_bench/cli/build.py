# SPDX-License-Identifier: MIT
"""`shirq build`: builds the parts of the bench into the cache; `shirq lint`: checks the style of the C sources."""

from __future__ import annotations

import click

from shirq_bench.provision import deps as system_packages
from shirq_bench.provision import image, kernel, kmod, packages, qemu
from shirq_bench.provision import lint as style

_kernels = click.argument("names", nargs=-1, required=True, metavar="KERNEL...")


@click.group()
def build() -> None:
    """Build or fetch a part of the bench, and print its path. Other commands build the parts they need."""


@build.command("qemu")
def _qemu() -> None:
    """Build QEMU with the emulated device and the line probe in it."""
    click.echo(qemu.build())


@build.command("kernel")
@_kernels
def _kernel(names: tuple[str, ...]) -> None:
    """Fetch or build kernels with their modules and headers."""
    for name in names:
        click.echo(kernel.get(name))


@build.command("module")
@_kernels
def _module(names: tuple[str, ...]) -> None:
    """Build shirq.ko, and the bench's own modules, for kernels."""
    for name in names:
        target = kernel.get(name)
        for path in (kmod.build(target), *kmod.build_own(target)):
            click.echo(path)


@build.command("image")
@_kernels
def _image(names: tuple[str, ...]) -> None:
    """Build the guest's image for kernels."""
    for name in names:
        click.echo(image.build(kernel.get(name)))


@build.command("packages")
def _packages() -> None:
    """Build sdists, wheels and Debian packages of this checkout into build/packages/, which is replaced."""
    for path in packages.build():
        click.echo(path)


@click.command()
@click.argument("names", nargs=-1, metavar="[KERNEL]...")
def lint(names: tuple[str, ...]) -> None:
    """Check the modules' sources with checkpatch, and with sparse and all warnings for each of these kernels."""
    style.check(names)


@click.command()
@click.argument("groups", nargs=-1, type=click.Choice(list(system_packages.PACKAGES)), metavar="GROUP...")
def deps(groups: tuple[str, ...]) -> None:
    """Install the system packages of these groups that are missing; as root, or with sudo."""
    system_packages.install(list(groups))


COMMANDS = (build, deps, lint)
