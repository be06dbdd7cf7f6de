# SPDX-License-Identifier: MIT
"""Builds packages of this checkout, and installs them in environments that cannot import from the checkout."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
#: The time stamp of packages that tests build: a copy of the checkout has no commit to take a time from.
EPOCH = "1700000000"


def run(*command: str | Path, cwd: Path, timeout: float = 300, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command without the checkout's packages in its path and without the user's pytest options."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTEST_ADDOPTS")}
    return subprocess.run(
        command,
        cwd=cwd,
        env={**inherited, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )


def must(*command: str | Path, cwd: Path) -> str:
    done = run(*command, cwd=cwd)
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout


@contextlib.contextmanager
def shared(factory: pytest.TempPathFactory, name: str) -> Iterator[Path]:
    """Provide a directory that all pytest-xdist workers share; one worker at a time holds its lock."""
    base = factory.getbasetemp()
    directory = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    directory.mkdir(exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield directory


def wheel_of(source: Path, into: Path) -> Path:
    """Build the wheel of a source tree or sdist, with the build backend of the current environment."""
    into.mkdir()
    must(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", into, source, cwd=into)
    (wheel,) = into.glob("*.whl")
    return wheel


@dataclass(frozen=True)
class Installed:
    """A wheel that is installed in a virtual environment with the current environment's packages except shirq."""

    source: Path
    wheel: Path
    environment: Path

    def program(self, name: str) -> Path:
        """Return the path of a program in the environment."""
        return self.environment / "bin" / name

    @property
    def packages(self) -> Path:
        """The directory with the wheel's packages."""
        (directory,) = self.environment.glob("lib/python*/site-packages")
        return directory

    @property
    def record(self) -> dict[str, str]:
        """The files of the wheel, with their hashes."""
        with zipfile.ZipFile(self.wheel) as archive:
            (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/RECORD")]
            rows = csv.reader(archive.read(name).decode().splitlines())
            return {row[0]: row[1] for row in rows if row[0] != name}

    @property
    def metadata(self) -> Message:
        """The wheel's metadata."""
        with zipfile.ZipFile(self.wheel) as archive:
            (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
            return Parser().parsestr(archive.read(name).decode())


def new_environment(directory: Path, dependencies: bool) -> Path:
    """Make a virtual environment without pip; with ``dependencies``, it also has the current environment's packages."""
    environment = directory / "environment"
    must(sys.executable, "-m", "venv", "--without-pip", environment, cwd=directory)
    if dependencies:
        # Python searches the directory that a .pth file names, but reads no .pth files there, such as that of an
        # editable installation of shirq.
        (packages,) = environment.glob("lib/python*/site-packages")
        (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment


def pip(environment: Path, *arguments: str | Path) -> None:
    """Install the given files into an environment, and nothing else."""
    command = [sys.executable, "-m", "pip", "--python", str(environment / "bin/python")]
    must(*command, "install", "-q", "--no-deps", "--no-index", *arguments, cwd=environment)


def install(factory: pytest.TempPathFactory, name: str, source: Path, wheel: Path, dependencies: bool) -> Installed:
    """Install a wheel built from ``source`` into its own environment, once for all tests of this run."""
    with shared(factory, name) as directory:
        if not (directory / "complete").exists():
            pip(new_environment(directory, dependencies), wheel)
            (directory / "complete").touch()
        return Installed(source, wheel, directory / "environment")


def build_packages(checkout: Path, cwd: Path, **environment: str) -> Path:
    """Build the packages of a checkout as `make packages` does; the results are below ``cwd``."""
    command = (sys.executable, "-m", "shirq_bench.cli", "build", "packages")
    done = run(
        *command, cwd=cwd, timeout=300, PYTHONPATH=str(checkout / "harness"), SOURCE_DATE_EPOCH=EPOCH, **environment
    )
    assert done.returncode == 0, done.stdout
    return cwd / "build/packages"


def make_packages(factory: pytest.TempPathFactory) -> Path:
    """Build the packages as `make packages` does, once for all tests of this run; returns their directory."""
    with shared(factory, "packages") as directory:
        if not (directory / "complete").exists():
            build_packages(TOP, directory)
            (directory / "complete").touch()
        return directory / "build/packages"
