# SPDX-License-Identifier: MIT
"""The patches for QEMU stand alone: each applies to the plain source, and its qtest fails without its mend.

Compiles QEMU without anything of ours: half an hour for the first patch, minutes for the others.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from shirq_bench.provision import qemu, upstream


@pytest.mark.long
@pytest.mark.parametrize("patch", qemu.upstream_patches(), ids=lambda path: path.stem)
def test_the_qtest_of_a_patch_needs_its_mend(patch: Path) -> None:
    without, mended = upstream.prove(patch)
    assert mended.passed, mended.output
    assert "\nok " in f"\n{mended.output}", mended.output
    assert not without.passed, without.output
    assert "\nnot ok " in f"\n{without.output}" or "Bail out!" in without.output, without.output
