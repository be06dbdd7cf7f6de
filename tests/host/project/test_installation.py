# SPDX-License-Identifier: MIT
"""Both distributions (the bench, the binding), installed from their wheels, do not use the checkout."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from installing import TOP, Installed, install, must, new_environment, pip, run, wheel_of
from shirq_bench.campaigns.zoo import case as zoo
from shirq_bench.paths import GUEST, KMOD, QEMU_DEVICE
from shirq_bench.provision import cache, kernel
from shirq_bench.provision.deps import PACKAGES

#: The directories of the checkout that the bench's wheel contains.
TREES = (GUEST, KMOD, QEMU_DEVICE)


@pytest.fixture(scope="session")
def bench(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    (wheel,) = packages.glob("shirq_bench-*.whl")
    return install(tmp_path_factory, "bench", TOP, wheel, dependencies=True)


@pytest.fixture(scope="session")
def binding(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    (wheel,) = packages.glob("shirq-*.whl")
    return install(tmp_path_factory, "binding", TOP / "guest", wheel, dependencies=False)


def _shirq(
    bench: Installed, cwd: Path, *arguments: str, path: str = os.environ["PATH"]
) -> subprocess.CompletedProcess[str]:
    return run(bench.program("shirq"), *arguments, cwd=cwd, SHIRQ_CACHE=str(cwd / "cache"), COLUMNS="200", PATH=path)


def _python(installed: Installed, cwd: Path, script: str) -> str:
    return must(installed.program("python"), "-c", script, cwd=cwd).strip()


# ------------------------------------------------------------------ the bench


def test_the_bench_is_imported_from_its_wheel(bench: Installed, tmp_path: Path) -> None:
    script = "from shirq_bench import paths; print(paths.__file__, paths.checkout())"
    assert _python(bench, tmp_path, script) == f"{bench.packages}/shirq_bench/paths.py None"


def test_the_checkout_is_installed_with_what_is_locked(tmp_path: Path) -> None:
    """The test installs as `make deps` does: requirements.lock must have the build backend and all that it needs."""
    environment = new_environment(tmp_path, dependencies=True)
    pip(environment, "--no-build-isolation", "--editable", TOP)
    script = "from shirq_bench import paths; print(paths.checkout())"
    assert must(environment / "bin/python", "-c", script, cwd=tmp_path).strip() == str(TOP)


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: tree.name)
def test_the_wheel_carries_what_the_checkout_has(bench: Installed, tree: Path, tmp_path: Path) -> None:
    """The wheel has all files with the same content hashes, so that wheel and checkout share entries of the cache."""
    carried = bench.packages / "shirq_bench/data" / tree.name

    def names(root: Path) -> set[str]:
        return {str(path.relative_to(root)) for path in cache.tree(root)}

    assert names(carried) == names(tree)
    assert not [path for path in carried.rglob("*") if path.is_symlink()]
    assert cache.digest(carried) == cache.digest(tree)


def test_the_wheel_from_the_sdist_is_the_same(bench: Installed, packages: Path, tmp_path: Path) -> None:
    (sdist,) = packages.glob("shirq_bench-*.tar.gz")
    again = Installed(sdist, wheel_of(sdist, tmp_path / "wheel"), bench.environment)
    assert again.record == bench.record


def test_zoo_list_names_all_cases(bench: Installed, tmp_path: Path) -> None:
    done = _shirq(bench, tmp_path, "zoo", "list")
    assert done.returncode == 0, done.stdout
    assert {line.split()[0] for line in done.stdout.splitlines()[1:]} >= set(zoo.ids())


def test_kernels_names_all_kernels(bench: Installed, tmp_path: Path) -> None:
    done = _shirq(bench, tmp_path, "kernels")
    assert done.returncode == 0, done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == kernel.names()


def test_the_doctor_speaks_of_no_checkout(bench: Installed, tmp_path: Path) -> None:
    """The remedies of `shirq doctor` also work without a Makefile and a repository."""
    # Report every package as missing, so that `shirq doctor` shows every purpose, whatever this machine has.
    nothing = tmp_path / "bin" / "dpkg-query"
    nothing.parent.mkdir()
    nothing.write_text("#!/bin/sh\nexit 1\n")
    nothing.chmod(0o755)
    path = f"{nothing.parent}{os.pathsep}{os.environ['PATH']}"
    said = _shirq(bench, tmp_path, "doctor", path=path).stdout
    assert all(why in said for group in PACKAGES.values() for why in group.values())
    assert "Python packages: " in said and " as required" in said
    assert f"-> {bench.program('python')} -m shirq_bench.cli build qemu" in said
    assert not [
        word for word in ("cannot be examined", "git", "-> make ", "`make ", "requirements.lock") if word in said
    ], said


#: Optional packages, imported only when they are used: by an option of the plugin, by commands that need a checkout,
#: and by campaigns on workers (the extra "fleet").
_IMPORTED_LATE = {"pytest_html", "markdown_it", "dask", "distributed"}


def _imports(source: str) -> tuple[set[str], set[str]]:
    """Return the top-level packages that a module imports at once, and those that its functions import later."""
    found: tuple[set[str], set[str]] = (set(), set())

    def look(node: ast.AST, late: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found[late].update(name.name.partition(".")[0] for name in child.names)
            elif isinstance(child, ast.ImportFrom) and not child.level:
                found[late].add(str(child.module).partition(".")[0])
            look(child, late or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))

    look(ast.parse(source), False)
    return found


def test_imports_are_told_by_when_they_happen() -> None:
    source = "import os.path\nif True:\n    from a.b import c\ndef f():\n    import d\nclass C:\n    from e import f\n"
    assert _imports(source) == ({"os", "a", "e"}, {"d"})


def test_what_the_wheel_imports_it_depends_on(bench: Installed) -> None:
    """The wheel imports at once only packages that it depends on, because developers' packages may be missing."""
    ours = [name for name in bench.record if name.endswith(".py") and not name.startswith("shirq_bench/data/")]
    assert len(ours) > 50
    found = {name: _imports((bench.packages / name).read_text()) for name in ours}
    needed = {Requirement(text) for text in bench.metadata.get_all("Requires-Dist") or []}
    depends = {canonicalize_name(requirement.name) for requirement in needed if not requirement.marker}
    owners = importlib.metadata.packages_distributions()
    known = {package for package, names in owners.items() if depends.intersection(map(canonicalize_name, names))}
    known |= {"shirq_bench", *sys.stdlib_module_names}
    assert {name: extra for name, (early, _) in found.items() if (extra := early - known)} == {}
    assert {package for _, late in found.values() for package in late - known} == _IMPORTED_LATE


def _example(directory: Path) -> Path:
    """Copy the example project; returns the copy."""
    project = directory / "project"
    shutil.copytree(TOP / "examples/pci_serial", project, ignore=shutil.ignore_patterns("__pycache__", "build"))
    return project


@pytest.mark.long
def test_the_example_project_runs_a_guest(bench: Installed, tmp_path: Path, kernel_name: str) -> None:
    """The wheel contains all that is needed to build the guest and to compile the example's driver."""
    project = _example(tmp_path)
    test = "test_uartline.py::test_what_arrives_is_read_and_the_line_falls"
    words = ["-m", "pytest", "-q", test, "--shirq-kernel", kernel_name]
    done = run(bench.program("python"), *words, cwd=project, timeout=3600)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_the_example_project_is_collected(bench: Installed, tmp_path: Path) -> None:
    project = _example(tmp_path)
    done = run(bench.program("python"), "-m", "pytest", "--collect-only", "-q", cwd=project)
    assert done.returncode == 0, done.stdout
    assert "test_uartline.py::" in done.stdout and "[6.1]" in done.stdout


#: A project that does not use the bench, but uses some of the same names.
_CONFTEST = """
import pytest

def pytest_addoption(parser):
    parser.addoption("--kernel")

@pytest.fixture
def boot(pytestconfig):
    return pytestconfig.getoption("--kernel")
"""
_TEST = """
import sys

def test_it(boot, tmp_path):
    assert boot == "mine"
    assert not [name for name in sys.modules if name.startswith("shirq")]
    assert not list(tmp_path.parent.parent.glob("running"))
"""


@pytest.mark.parametrize("workers", [[], ["-n2"]], ids=["alone", "xdist"])
def test_an_unrelated_project_is_untouched(bench: Installed, tmp_path: Path, workers: list[str]) -> None:
    (tmp_path / "conftest.py").write_text(_CONFTEST)
    (tmp_path / "test_it.py").write_text(_TEST)
    options = ["-p", "no:cacheprovider", f"--basetemp={tmp_path}/tmp", "--kernel", "mine", *workers]
    done = run(bench.program("python"), "-m", "pytest", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


@pytest.mark.parametrize(
    "command",
    [
        ["mutants", "--list"],
        ["lint"],
        ["bench", "--guard", "--accept", "a reason"],
        ["torture", "fast", "--kernel", "6.1"],
        ["promises"],
        ["build", "packages"],
    ],
    ids=["mutants", "lint", "baseline", "torture", "promises", "packages"],
)
def test_what_needs_a_checkout_says_so(bench: Installed, tmp_path: Path, command: list[str]) -> None:
    done = run(bench.program("shirq"), *command, cwd=tmp_path, SHIRQ_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 1
    assert "needs a git checkout of shirq" in done.stdout
    assert "Traceback" not in done.stdout
    assert not (tmp_path / "cache").exists()


def test_results_go_to_the_current_directory(bench: Installed, tmp_path: Path) -> None:
    script = (
        "from shirq_bench import paths; from shirq_bench.campaigns.zoo import suite; print(suite.REPORTS.absolute())"
    )
    assert _python(bench, tmp_path, script) == f"{tmp_path}/build/reports"


def test_programs_of_a_case_are_assembled_by_the_carried_binding(bench: Installed, tmp_path: Path) -> None:
    """The bench uses its own copy of the binding, but does not make it importable: another version may be installed."""
    script = """
import importlib.util
from shirq_bench.campaigns.zoo.run import _programs
data = _programs(dict.fromkeys(("irq", "unmask", "release"), "load r0, 1"))
print(len(data), importlib.util.find_spec("shirq"))
"""
    header = 4 * 4  # The mode and three lengths.
    assert _python(bench, tmp_path, script) == f"{header + 3 * 16} None"


# ------------------------------------------------------------------ the binding


def test_the_binding_is_imported_from_its_wheel(binding: Installed, tmp_path: Path) -> None:
    assert _python(binding, tmp_path, "import shirq; print(shirq.__file__)") == f"{binding.packages}/shirq/__init__.py"
    assert binding.metadata.get_all("Requires-Dist") is None
    assert "shirq/py.typed" in binding.record


def test_shirqctl_runs_without_the_bench(binding: Installed, tmp_path: Path) -> None:
    assert "usage: shirqctl" in must(binding.program("shirqctl"), "--help", cwd=tmp_path)
    assert must(binding.program("shirqctl"), "--version", cwd=tmp_path) == f"shirqctl {binding.metadata['Version']}\n"


def test_the_bindings_profiles_are_right(binding: Installed, tmp_path: Path) -> None:
    folder = _python(binding, tmp_path, "from shirq import profile; print(profile.folder())")
    assert folder == f"{binding.packages}/shirq/profiles"
    profiles = sorted(Path(folder).iterdir())
    assert [path.name for path in profiles] == sorted(path.name for path in (GUEST / "profiles").iterdir())
    for path in profiles:
        assert ": right, as far as can be told" in must(binding.program("shirqctl"), "check", path, cwd=tmp_path)


def test_the_bindings_wheel_from_its_sdist_is_the_same(binding: Installed, packages: Path, tmp_path: Path) -> None:
    (sdist,) = packages.glob("shirq-*.tar.gz")
    again = Installed(sdist, wheel_of(sdist, tmp_path / "wheel"), binding.environment)
    assert again.record == binding.record


# ------------------------------------------------------------------ both


def test_the_distributions_share_no_file(bench: Installed, binding: Installed) -> None:
    assert not bench.record.keys() & binding.record.keys()
    assert {name.split("/")[0] for name in bench.record if ".dist-info" not in name} == {"shirq_bench"}
    assert {name.split("/")[0] for name in binding.record if ".dist-info" not in name} == {"shirq"}


def test_wheels_name_their_licences_and_carry_the_texts(bench: Installed, binding: Installed) -> None:
    assert binding.metadata["License-Expression"] == "MIT"
    assert binding.metadata.get_all("License-File") == ["LICENSES/MIT.txt"]
    texts = {Path(name).stem for name in bench.metadata.get_all("License-File") or []}
    assert texts == {path.stem for path in (TOP / "LICENSES").iterdir()}
    assert texts == set(bench.metadata["License-Expression"].replace(" WITH ", " AND ").split(" AND "))
    for installed in (bench, binding):
        for name in installed.metadata.get_all("License-File") or []:
            (path,) = installed.packages.glob(f"*.dist-info/licenses/{name}")
            assert path.read_text() == (TOP / name).read_text()


def test_locked_packages_run_on_the_oldest_supported_python() -> None:
    """Each locked version must support the oldest Python: versions that were resolved on a newer one may not."""
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    (oldest,) = re.findall(r"^>=(\d+\.\d+)$", project["requires-python"])
    locked = re.findall(r"^([\w.-]+)==", (TOP / "requirements.lock").read_text(), re.MULTILINE)
    assert len(locked) > 50
    # A package need not say which Python it requires.
    wanted = {name: (importlib.metadata.metadata(name).get_all("Requires-Python") or [""])[0] for name in locked}
    assert [(name, python) for name, python in wanted.items() if f"{oldest}.0" not in SpecifierSet(python)] == []
