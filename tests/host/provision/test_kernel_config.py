# SPDX-License-Identifier: MIT
"""A built kernel has all options of its configuration fragments; otherwise its build fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from shirq_bench.provision import deps, kernel
from shirq_bench.provision.steps import BuildError

_FIRST = "# A comment.\nCONFIG_KASAN=y\nCONFIG_SMP=y\n# CONFIG_SLUB_TINY is not set\n"
_LATER = "# CONFIG_KASAN is not set\nCONFIG_KCSAN=y\n"


def test_a_kernel_is_not_compiled_without_its_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The build checks the packages first: without a library it would fail late, and not name the package."""
    monkeypatch.setattr(deps, "missing", lambda groups: {"libelf-dev": "the kernel's objtool"} if groups else {})
    recipe = kernel.Recipe(suites=("none",), source="linux-source", config=("debug.config",))
    with pytest.raises(BuildError, match=r"linux-source needs libelf-dev \(the kernel's objtool\).*shirq deps debug-k"):
        kernel._compile(recipe, tmp_path)


def _check(tmp_path: Path, final: str) -> None:
    fragments = [tmp_path / "first.config", tmp_path / "later.config"]
    for path, text in zip(fragments, (_FIRST, _LATER), strict=True):
        path.write_text(text)
    (tmp_path / ".config").write_text(final)
    kernel._check_config(fragments, tmp_path / ".config")


def test_a_later_file_has_the_last_word(tmp_path: Path) -> None:
    _check(tmp_path, "CONFIG_SMP=y\nCONFIG_KCSAN=y\n")
    with pytest.raises(BuildError, match=r"kconfig did not accept .*later\.config: # CONFIG_KASAN is not set$"):
        _check(tmp_path, "CONFIG_SMP=y\nCONFIG_KCSAN=y\nCONFIG_KASAN=y\n")


@pytest.mark.parametrize("lost", ["CONFIG_SMP=y", "CONFIG_KCSAN=y"])
def test_what_was_dropped_is_named(lost: str, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=rf": {lost}$"):
        _check(tmp_path, "CONFIG_SMP=y\nCONFIG_KCSAN=y\n".replace(lost, ""))


def test_an_option_that_must_be_off_is_not_on(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"# CONFIG_SLUB_TINY is not set$"):
        _check(tmp_path, "CONFIG_SMP=y\nCONFIG_KCSAN=y\nCONFIG_SLUB_TINY=y\n")


def test_every_kernel_of_the_table_names_files_that_exist() -> None:
    compiled = [recipe for recipe in kernel._table().values() if recipe.source]
    assert compiled
    for recipe in compiled:
        for path in kernel._fragments(recipe):
            assert path.is_file(), path
