# SPDX-License-Identifier: MIT
"""System packages: an installed package counts, even if it has another name in this release of Debian."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shirq_bench.provision import deps


def _package(name: str, provides: str = "", status: str = "install ok installed") -> str:
    """Return an entry of dpkg's database."""
    more = f"Provides: {provides}\n" if provides else ""
    return (
        f"Package: {name}\nStatus: {status}\nVersion: 1\nArchitecture: amd64\n{more}"
        f"Maintainer: me <me@here>\nDescription: {name}\n\n"
    )


@pytest.mark.parametrize(
    ("there", "missing"),
    [
        (_package("libelf1"), False),
        (_package("libelf1t64", "libelf1 (= 0.192-4)"), False),
        (_package("other", "first, libelf1 (= 0.192-4), last"), False),
        (_package("libelf1t64", "libelf1 (= 0.192-4)", "deinstall ok config-files"), True),
        (_package("libelf1-dev", "libelf1-anything"), True),
        ("", True),
    ],
    ids=["itself", "Debian 13", "among others", "removed", "its namesake", "nothing"],
)
def test_a_package_may_be_there_under_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str, missing: bool
) -> None:
    (tmp_path / "status").write_text(there)
    (tmp_path / "updates").mkdir()
    monkeypatch.setenv("DPKG_ADMINDIR", str(tmp_path))
    assert ("libelf1" in deps.missing(["guest"])) is missing


def test_no_package_has_a_releases_name() -> None:
    """A package's name must not contain a version that only one Debian release has. gcc-12 is in Debian 12 and 13."""
    names = {name for group in deps.PACKAGES.values() for name in group}
    assert {name for name in names if re.search(r"-\d\d\b", name)} == {"gcc-12"}
