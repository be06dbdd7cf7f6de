# SPDX-License-Identifier: MIT
"""System packages that the project needs, and their installation by the first command that needs them.

Standard library only: it runs with the system's Python before the virtual environment exists.
Run as ``python3 harness/shirq_bench/provision/deps.py GROUP ...``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

#: For each group: Debian's packages, and their purpose.
PACKAGES: dict[str, dict[str, str]] = {
    "python": {
        "python3-venv": "the project's own virtual environment",
        "gcc": "the program verifier as a host library, the guest's static programs",
        "libc6-dev": "the C library of these programs",
    },
    "qemu": {
        "dpkg-dev": "unpacking Debian's QEMU source",
        "patch": "adding the device to QEMU's tree",
        "xz-utils": "unpacking Debian's QEMU source",
        "gcc": "compiling QEMU",
        "libc6-dev": "compiling QEMU",
        "ninja-build": "compiling QEMU",
        "pkg-config": "configuring QEMU",
        "flex": "compiling QEMU",
        "bison": "compiling QEMU",
        "libglib2.0-dev": "QEMU's base library",
        "libpixman-1-dev": "QEMU's base library",
        "libslirp-dev": "QEMU's user network",
        "libfdt-dev": "QEMU's device trees",
    },
    "guest": {
        "gcc-12": "compiling the kernel module with the compiler of Debian's kernel",
        "kmod": "depmod for the guest's kernel modules",
        "cpio": "packing the guest's initramfs",
        "libelf1": "the kernel's objtool",
        "binutils": "naming the instruction at which a sweep's stimulus came",
        "gdb": "debugging a guest at that instruction",
    },
    "debug-kernel": {
        "bc": "compiling a kernel",
        "flex": "configuring a kernel",
        "bison": "configuring a kernel",
        "libelf-dev": "the kernel's objtool",
        "libssl-dev": "the kernel's certificates",
        "xz-utils": "unpacking the kernel's source",
    },
    "fuzz": {
        "clang": "libFuzzer and the sanitizers",
        "make": "building the fuzz target",
        "libclang-rt-dev": "the run-time library of libFuzzer and the sanitizers",
    },
    "browser": {
        "chromium": "testing the page in a browser",
        "chromium-driver": "driving the browser in these tests",
    },
    "bench": {
        "qemu-system-x86": "running virtme-ng beside our guests, with the QEMU that its users have",
        "busybox-static": "virtme-ng's initramfs",
    },
    "packages": {
        "lintian": "checking the Debian packages that are built",
        "mmdebstrap": "making a Debian system in which these packages are installed",
        "uidmap": "making that system without being root",
    },
    "lint": {
        "sparse": "static checks of the kernel module",
        "perl": "checkpatch",
        "libmagic1": "finding files' encodings, for reuse",
        "xz-utils": "unpacking checkpatch from the kernel's source",
    },
}


#: Seconds to wait for another process that is installing packages.
_LOCK_S = 900


def missing(groups: list[str]) -> dict[str, str]:
    """The packages of ``groups`` that are not installed according to dpkg, with their purpose.

    A package counts as installed if another one provides it: in Debian 13, libelf1t64 provides libelf1.
    """
    wanted = {name: why for group in groups for name, why in PACKAGES[group].items()}
    listing = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status}: ${Package}, ${Provides}\n"], capture_output=True, text=True
    ).stdout
    there = (line.removeprefix("installed: ") for line in listing.splitlines() if line.startswith("installed: "))
    installed = {name.split()[0] for names in there for name in names.split(",") if name.strip()}
    return {name: why for name, why in wanted.items() if name not in installed}


def install(groups: list[str]) -> None:
    """Install the missing packages of ``groups`` with apt-get, through sudo when not root; prints their purpose."""
    if not shutil.which("apt-get") or not shutil.which("dpkg-query"):
        names = sorted({name for group in groups for name in PACKAGES[group]})
        sys.exit(
            "shirq: this machine has no apt, which also fetches QEMU's source and the guests' kernels.\n"
            f"Install apt and the equivalents of these Debian packages: {' '.join(names)}"
        )
    lacking = missing(groups)
    if not lacking:
        return
    print("shirq: installing missing system packages:", file=sys.stderr)
    for name, why in lacking.items():
        print(f"    {name:18} {why}", file=sys.stderr)
    prefix = []
    if os.getuid() != 0:
        if not shutil.which("sudo"):
            sys.exit(
                "shirq: packages cannot be installed: this user is not root, and sudo is missing. "
                f"Run as root: apt-get install {' '.join(lacking)}"
            )
        prefix = ["sudo"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", *lacking]):
        # Wait for apt's lock: a new machine may still install its updates, or another run of the bench may install
        # packages.
        patient = [*prefix, "apt-get", f"-oDPkg::Lock::Timeout={_LOCK_S}", *command]
        done = subprocess.run(patient, env=environment, stdout=sys.stderr)
        if done.returncode:
            sys.exit(f"shirq: apt-get {command[0]} failed; install these packages by hand: {' '.join(lacking)}")


if __name__ == "__main__":
    unknown = [group for group in sys.argv[1:] if group not in PACKAGES]
    if unknown:
        sys.exit(f"shirq: no package group {unknown[0]!r}; known groups: {', '.join(PACKAGES)}")
    install(sys.argv[1:])
