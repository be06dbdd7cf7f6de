# SPDX-License-Identifier: MIT
"""PYNQ's uio.py, from PyPI by its hash: a program for UIO devices that runs unchanged on shirq's UIO face."""

from __future__ import annotations

import sys
import tarfile
import tempfile
from pathlib import Path

from shirq_bench.provision import cache
from shirq_bench.provision.steps import run

VERSION = "2.7.0"
SHA256 = "5bca29cbae7db358c84ca3629ff9d0ce24e90573339a880281b166bfd5a06dae"


def uio() -> Path:
    """The file uio.py. The first call downloads the package, 62 MB, by pip as this machine has it set up."""

    def fill(directory: Path) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            wanted = Path(scratch) / "requirements.txt"
            wanted.write_text(f"pynq=={VERSION} --hash=sha256:{SHA256}\n")
            options = ["--no-deps", "--no-binary", ":all:", "--no-build-isolation", "--require-hashes"]
            run(
                "PYNQ, for its uio.py",
                [sys.executable, "-m", "pip", "download", "-q", *options, "-d", scratch, "-r", wanted],
                log=cache.root() / "pynq.log",
                deadline=600,
            )
            with tarfile.open(Path(scratch) / f"pynq-{VERSION}.tar.gz") as package:
                member = package.extractfile(f"pynq-{VERSION}/pynq/uio.py")
                assert member is not None
                (directory / "uio.py").write_bytes(member.read())

    return cache.entry("pynq", cache.digest(VERSION, SHA256), fill) / "uio.py"
