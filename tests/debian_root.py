# SPDX-License-Identifier: MIT
"""Runs scripts in a separate Debian system, in memory and without a network, to test Debian packages.

The system for a list of packages is made once, with these packages and their dependencies, and cached. Each run unpacks
it into a tmpfs, in a mount and PID namespace of its own. The kernel drops both when the last process of the run ends,
so that the host stays unchanged. If the caller is not root, the script runs as root of a user namespace.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from shirq_bench.provision import cache
from shirq_bench.provision.apt import Suites
from shirq_bench.provision.steps import BuildError

#: Increment when the systems that `Suites.system` makes change.
_LAYOUT = 1
#: The mount point, in the system, of the directory that the script shares with the test.
SHARED = "/mnt"

_ENTER = """
mount -t tmpfs -o mode=755 root "$ROOT"
tar -C "$ROOT" --no-same-owner --exclude='./dev/*' -xf "$ARCHIVE"
mount --rbind /dev "$ROOT/dev"
mount -t proc proc "$ROOT/proc"
bind() { # FROM TO, a path in the root
    mkdir -p "$ROOT$2"
    mount --bind "$1" "$ROOT$2"
}
"""
#: In a user namespace with one user, apt cannot switch to another user.
_PREPARE = """
echo 'APT::Sandbox::User "root";' >/etc/apt/apt.conf.d/00root
export DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
cd /
"""


def _archive(suite: str, packages: Sequence[str]) -> Path:
    def fill(directory: Path) -> None:
        Suites(suite).system(packages, directory / "root.tar")

    return cache.entry("debian-root", cache.digest(_LAYOUT, suite, sorted(packages)), fill) / "root.tar"


def run(
    script: str,
    shared: Path,
    *,
    packages: Sequence[str],
    suite: str = "bookworm",
    binds: Mapping[Path, str] | None = None,
    timeout: float = 600,
) -> str:
    """Run a shell script as root in a fresh system that has ``packages`` and their dependencies; returns its output.

    ``shared`` is mounted at `SHARED`. ``binds`` maps further directories of the host to their mount points in the
    system. Raises AssertionError with the whole output if any command of the script fails.
    """
    archive = _archive(suite, packages)
    root = shared / ".root"
    root.mkdir(exist_ok=True)
    bound = {shared: SHARED, **(binds or {})}
    mounts = "\n".join(f"bind {shlex.quote(str(source))} {shlex.quote(target)}" for source, target in bound.items())
    # Put the script on lines of its own, because its last line may be a comment or the end of a here-document.
    inside = f"set -eux\n{_PREPARE}\n{script}\n"
    outside = f'set -eu\n{_ENTER}\n{mounts}\nexec chroot "$ROOT" /bin/sh -c {shlex.quote(inside)}\n'
    namespaces = ["--mount", "--pid", "--net", "--fork", "--kill-child", "--propagation=private"]
    if os.getuid():
        namespaces = ["--user", "--map-root-user", *namespaces]
    environment = {**os.environ, "ROOT": str(root), "ARCHIVE": str(archive)}
    probe = subprocess.run(["unshare", *namespaces, "true"], capture_output=True, text=True)
    if probe.returncode:
        raise BuildError(
            f"no Debian system can be entered here: {probe.stderr.strip()}; become root, or allow user namespaces "
            "(sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces)"
        )
    done = subprocess.run(
        ["unshare", *namespaces, "sh", "-c", outside],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, f"status {done.returncode}\n{done.stdout}"
    return done.stdout
