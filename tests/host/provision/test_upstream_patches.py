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


def _verdict(script: str, place: Path) -> upstream.Verdict:
    """Run a script as the qtest ``made-up-test`` of a build."""
    qtest = place / "build/tests/qtest/made-up-test"
    qtest.parent.mkdir(parents=True)
    qtest.write_text(f"#!/bin/sh\n{script}\n")
    qtest.chmod(0o755)
    return upstream._run(place / "build", "made-up-test", Path("/firmware"), place)


@pytest.mark.parametrize("status", [0, 1])
def test_verdict_is_the_status_and_output_of_the_qtest(tmp_path: Path, status: int) -> None:
    verdict = _verdict(f'echo "ok 1 $1 $2"; cat "$QTEST_QEMU_BINARY"; exit {status}', tmp_path)
    assert verdict.passed == (status == 0)
    assert "\nok 1 --tap -k\n" in f"\n{verdict.output}"
    assert f"exec {tmp_path}/build/qemu-system-x86_64 -L /firmware" in verdict.output


def test_qtest_that_does_not_end_is_no_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that hangs has shown nothing: neither that the mend is needed nor that it works."""
    monkeypatch.setattr(upstream, "_DEADLINE", 1.0)
    with pytest.raises(
        BuildError, match=r"made-up-test: not finished after 1 s; output in .*made-up-test\.log"
    ) as caught:
        _verdict("echo before the end; sleep 600", tmp_path)
    log = Path(str(caught.value).rpartition(" ")[2])
    assert "before the end" in log.read_text()
