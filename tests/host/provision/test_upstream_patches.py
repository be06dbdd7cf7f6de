# SPDX-License-Identifier: MIT
"""The patches for QEMU have what a mail to QEMU's list needs, and nothing of this project."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shirq_bench.provision import qemu, upstream
from shirq_bench.provision.steps import BuildError

PATCHES = qemu.upstream_patches()


def test_there_are_patches() -> None:
    assert [path.stem for path in PATCHES] == ["0001-ioapic-level", "0002-icount-warp", "0003-ioapic-storm"]


@pytest.mark.parametrize("path", PATCHES, ids=lambda path: path.stem)
def test_a_patch_has_a_subject_a_reason_and_a_qtest(path: Path) -> None:
    text = path.read_text()
    head, _, changes = text.partition("\n---\n")
    subject, _, reason = head.partition("\n\n")
    assert re.fullmatch(r"Subject: \[PATCH\] [\w/]+: .+", subject)
    assert len(subject.removeprefix("Subject: [PATCH] ")) <= 76
    assert reason
    assert max(map(len, reason.splitlines())) <= 76
    assert upstream.qtest_of(text)
    # The line with the sender's name is the sender's.
    assert "Signed-off-by" not in text
    assert "shirq" not in text.lower()
    added = [line[1:] for line in changes.splitlines() if line.startswith("+") and not line.startswith("+++")]
    assert max(len(line) for line in added if "config_all_devices" not in line) <= 80
    assert not any("\t" in line or line.endswith(" ") for line in added)


def test_the_tests_of_a_patch_are_its_files_below_tests() -> None:
    text = PATCHES[0].read_text()
    assert set(re.findall(r"(?m)^\+\+\+ b/(\S+)", upstream.tests_of(text))) == {
        "tests/qtest/ioapic-level-test.c",
        "tests/qtest/meson.build",
    }


def test_a_patch_without_its_own_qtest_is_refused() -> None:
    with pytest.raises(BuildError, match="a patch must add one qtest of its own, not none"):
        upstream.qtest_of("--- a/hw/a.c\n+++ b/hw/a.c\n")
