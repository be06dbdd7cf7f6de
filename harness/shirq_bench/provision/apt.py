# SPDX-License-Identifier: MIT
"""Debian packages of any suite, fetched and unpacked without root and without any change to the machine's apt state.

The mirror is that of the machine's apt configuration. Every suite that the project needs gets a private apt
state (lists, cache, sources) in the cache. Versions are resolved when a suite is first used. They cannot be fixed in
advance, because a stable point release replaces the previous release on the mirror.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote

from shirq_bench.provision import cache
from shirq_bench.provision.steps import BuildError, run

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


@functools.cache
def _mirrors() -> dict[str, str]:
    """The mirrors that the machine's apt is configured with, by the kind of suite: ``{"": URI, "-security": URI}``."""
    if not shutil.which("apt-get"):
        raise BuildError("this step unpacks Debian packages and needs apt-get, which this machine does not have")
    listing = subprocess.run(
        [
            "apt-get",
            "indextargets",
            "--no-release-info",
            "--format",
            "$(CREATED_BY)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)",
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found: dict[str, str] = {}
    for line in listing.splitlines():
        kind, uri, release, component = line.split("|")
        if kind != "Packages" or component != "main" or "debian" not in uri:
            continue
        suffix = "-security" if release.rstrip("/").endswith("-security") else ""
        found.setdefault(suffix, uri)
    if "" not in found:
        raise BuildError(
            "apt has no Debian mirror configured (looked for a 'main' component): check /etc/apt/sources.list*"
        )
    return found


class Suites:
    """A private apt state over the named suites, for example ``Suites("trixie")``.

    A ``-security`` suite comes from the machine's security mirror and is left out if the machine has none.
    """

    def __init__(self, *suites: str) -> None:
        self._suites = suites
        self.dir = cache.root() / "apt" / "+".join(suites)

    def _options(self) -> list[str]:
        return [
            f"-oDir::State={self.dir}/state",
            f"-oDir::State::status={self.dir}/status",
            f"-oDir::Cache={self.dir}/cache",
            f"-oDir::Etc::sourcelist={self.dir}/sources.list",
            "-oDir::Etc::sourceparts=/dev/null",
            "-oDir::Etc::preferences=/dev/null",
            "-oDir::Etc::preferencesparts=/dev/null",
            f"-oAPT::Sandbox::User={'root' if os.getuid() == 0 else ''}",
            "-oAcquire::Languages=none",
            "-oAcquire::Retries=3",
        ]

    def _sources(self) -> list[str]:
        """The mirror of each suite, as a line of sources.list without its first word."""
        signed = f"[signed-by={_KEYRING}] " if _KEYRING.exists() else ""
        uris = {suite: _mirrors().get("-security" if suite.endswith("-security") else "") for suite in self._suites}
        return [f"{signed}{uri} {suite} main" for suite, uri in uris.items() if uri]

    def system(self, packages: Iterable[str], into: Path) -> None:
        """Make a Debian system from the first suite, with ``packages`` and their dependencies, as the archive ``into``.

        Needs mmdebstrap, and either root or subordinate ids. Raises `BuildError` with the output if it fails.
        """
        wanted = sorted(packages)
        if not shutil.which("mmdebstrap"):
            raise BuildError("making a Debian system needs mmdebstrap, which this machine lacks: `shirq deps packages`")
        sources = into.with_name("sources.list")
        sources.write_text("".join(f"deb {line}\n" for line in self._sources()))
        options = ["--variant=apt", "--format=tar", f"--include={','.join(wanted)}"]
        command: list[str | Path] = ["mmdebstrap", *options, self._suites[0], into, sources]
        run(f"a Debian system with {', '.join(wanted)}", command, log=cache.root() / "debian.log", deadline=1800)

    def update(self) -> None:
        """Fetch the package lists anew."""
        for sub in ("state/lists/partial", "cache/archives/partial"):
            (self.dir / sub).mkdir(parents=True, exist_ok=True)
        (self.dir / "status").touch()
        lines = [f"{kind} {line}\n" for line in self._sources() for kind in ("deb", "deb-src")]
        (self.dir / "sources.list").write_text("".join(lines))
        run(
            f"package lists of {', '.join(self._suites)}",
            ["apt-get", *self._options(), "update"],
            log=self.dir / "log",
            deadline=600,
        )
        for version in self.dir.glob("version-*"):
            version.unlink()
        (self.dir / "updated").touch()

    def _lock(self) -> contextlib.AbstractContextManager[None]:
        return cache.lock("apt-" + "+".join(self._suites))

    def _ready(self) -> None:
        with self._lock():
            if not self.known:
                self.update()
            cache.used(self.dir)

    @property
    def known(self) -> bool:
        """Whether the package lists have been fetched, so that a query needs no network."""
        return (self.dir / "updated").exists()

    def query(self, *argv: str) -> str:
        """The output of ``apt-cache`` over this state."""
        self._ready()
        done = subprocess.run(["apt-cache", *self._options(), *argv], capture_output=True, text=True)
        if done.returncode:
            raise BuildError(f"apt-cache {' '.join(argv)}: {done.stderr.strip()}")
        return done.stdout

    def depends(self, package: str) -> list[str]:
        """The packages that ``package`` depends upon directly."""
        lines = self.query("depends", "--no-recommends", "--no-suggests", package).splitlines()
        return [line.split("Depends: ", 1)[1].strip() for line in lines if "Depends: " in line]

    def _fetch(self, what: str, argv: list[str], into: Path) -> None:
        """Run a fetching apt-get command. If it fails, update the lists and retry: the mirror may have new versions."""
        self._ready()
        into.mkdir(parents=True, exist_ok=True)
        command = ["apt-get", *self._options(), *argv]
        try:
            run(what, command, log=self.dir / "log", cwd=into, deadline=1800)
        except BuildError:
            self.update()
            run(what, command, log=self.dir / "log", cwd=into, deadline=1800)

    def source_version(self, package: str) -> str:
        """The version, without its epoch, of the source of ``package`` that `source` would fetch."""
        self._ready()
        # Keep the version until `update` deletes it, because apt needs a second for the answer.
        known = self.dir / f"version-{package}"
        with self._lock():
            if not known.exists():
                command = ["apt-get", *self._options(), "source", "--print-uris", "-qq", package]
                done = subprocess.run(command, capture_output=True, text=True)
                found = re.search(rf"^'\S+' {re.escape(package)}_(\S+)\.dsc ", done.stdout, re.M)
                if done.returncode or not found:
                    raise BuildError(f"{self.dir.name} has no source package {package}: {done.stderr.strip()}")
                known.write_text(found[1])
            return known.read_text()

    def source(self, package: str, into: Path) -> str:
        """Fetch the newest source of ``package`` and unpack it as ``into``/src; returns its version, without epoch."""
        self._fetch(f"source package {package}", ["source", "--download-only", "-q", package], into)
        dsc = next(into.glob("*.dsc"))
        target = into / "src"
        run(f"unpacking {dsc.name}", ["dpkg-source", "--no-check", "-x", dsc, target], log=self.dir / "log", cwd=into)
        return dsc.stem.removeprefix(f"{package}_")

    def unpack(self, packages: Iterable[str], into: Path) -> list[str]:
        """Fetch the newest ``packages`` and unpack them all into the tree ``into``.

        Returns each one's name, version and architecture, as "NAME_VERSION_ARCHITECTURE", in the order of the names.
        """
        names = list(packages)
        debs = into.parent / f".debs-{into.name}"
        self._fetch(f"packages {' '.join(names)}", ["download", "-q", *names], debs)
        into.mkdir(parents=True, exist_ok=True)
        fetched = sorted(debs.glob("*.deb"))
        for deb in fetched:
            subprocess.run(["dpkg-deb", "-x", deb, into], check=True)
        shutil.rmtree(debs)
        return [unquote(deb.stem) for deb in fetched]
