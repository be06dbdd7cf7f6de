# SPDX-License-Identifier: MIT
"""The documented behaviour of the pytest plugin, alone and with pytest-xdist and pytest-html."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from guest import suites
from shirq_bench.provision import kernel

_FAILING = """
import pytest
from shirq_bench.observe.scene import Scene
from shirq_bench.plugin import artefacts
from shirq_bench.vm.machine import Machine

@pytest.fixture
def watched(vm):
    yield vm
    raise ValueError("the fixture fails at its end")

def test_that_fails(vm):
    scene = Scene(vm)
    driver = scene.drive("dev0")
    scene.raise_("dev0")
    assert driver.next_event().status == 2, "as it should"

def test_that_ends_badly(vm):
    vm.agent.succeed("echo 'Disabling IRQ #99' >/dev/kmsg")

def test_whose_fixture_fails(watched):
    pass

def test_that_cannot_be_kept(vm, request):
    blocked = artefacts.folder(request.node)
    blocked.parent.mkdir(parents=True, exist_ok=True)
    blocked.write_text("")
    vm.agent.succeed("echo 'Disabling IRQ #98' >/dev/kmsg")

def test_that_does_not_start(boot):
    boot(Machine(devices=("shirq-edu,disintx=perhaps",)), cold=True)

def test_that_has_no_log(boot):
    boot(Machine(extra=("-bogus",)), cold=True)

def test_that_passes(vm):
    assert vm.agent.succeed("echo fine") == "fine\\n"
"""

#: The artefacts of every guest of a failed test, and a text that each contains.
_LEFT = {
    "command": "qemu-system-x86_64",
    "console.log": "shirq: the guest is up",
    "dmesg": "Linux version",
    "events.shirqlog": "SHIRQLOG",
    "machine.json": '"devices"',
    "qemu.log": "",
    "qmp.log": "migrate-incoming",
}


@pytest.fixture(scope="module")
def failed(kernel_name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose tests two workers have run; all tests except one failed."""
    project = tmp_path_factory.mktemp("failing")
    suites.arrange(project, _FAILING)
    reports = ["--junitxml=reports/r.xml", "--html=reports/r.html", "--self-contained-html"]
    status, said = suites.run(project, "-n2", "--shirq-kernel", kernel_name, *reports)
    assert status == 1, said
    (project / "said").write_text(said)
    return project


def _folder(project: Path, test: str) -> Path:
    (folder,) = project.glob(f"build/artefacts/test_suite.py_{test}_*")
    return folder


def test_the_outcomes_of_two_workers_are_in_both_reports(failed: Path) -> None:
    cases = ElementTree.parse(failed / "reports/r.xml").getroot().iter("testcase")
    outcomes = {str(case.get("name")).partition("[")[0]: [child.tag for child in case] for case in cases}
    assert outcomes == {
        "test_that_fails": ["failure"],
        "test_that_ends_badly": ["error"],
        "test_whose_fixture_fails": ["error"],
        "test_that_cannot_be_kept": ["error"],
        "test_that_does_not_start": ["failure"],
        "test_that_has_no_log": ["failure"],
        "test_that_passes": [],
    }
    page = html.unescape((failed / "reports/r.html").read_text())
    assert all(test in page for test in outcomes)


@pytest.mark.parametrize("test", ["test_that_fails", "test_that_ends_badly", "test_whose_fixture_fails"])
def test_a_failed_test_leaves_everything_that_its_guest_had(failed: Path, test: str) -> None:
    (guest,) = [path for path in _folder(failed, test).iterdir() if path.is_dir()]
    for name, holds in _LEFT.items():
        assert holds in (guest / name).read_text(errors="replace"), name


def test_a_guest_that_does_not_start_leaves_what_its_qemu_said(failed: Path) -> None:
    (guest,) = [path for path in _folder(failed, "test_that_does_not_start").iterdir() if path.is_dir()]
    assert "disintx" in (guest / "qemu.log").read_text()
    assert "must be" in (failed / "said").read_text()


def test_a_failed_test_leaves_a_page_and_a_waveform_of_its_line(failed: Path) -> None:
    (guest,) = [path for path in _folder(failed, "test_that_fails").iterdir() if path.is_dir()]
    assert "dev0" in (guest / "page.html").read_text()
    assert "dev0" in (guest / "waveform.vcd").read_text()


def test_the_report_for_browsers_leads_to_all_of_it(failed: Path) -> None:
    page = html.unescape(html.unescape((failed / "reports/r.html").read_text()))
    links = {(failed / "reports" / link).resolve() for link in re.findall(r"\.\./build/artefacts/[^\"'<>\\]+", page)}
    kept = {path for path in (failed / "build/artefacts").glob("*/**/*") if path.is_file()}
    assert links == kept


def test_failure_names_the_splat_and_where_its_artefacts_are(failed: Path) -> None:
    """The report of a failed test contains the splat and the path of the test's artefacts."""
    said = (failed / "said").read_text()
    assert "splat in the kernel log of this test's guest" in said
    assert "Disabling IRQ #99" in said
    for test in ("test_that_fails", "test_that_ends_badly", "test_whose_fixture_fails"):
        assert str(_folder(failed, test)) in said


def test_artefacts_that_cannot_be_kept_hide_no_splat(failed: Path) -> None:
    said = (failed / "said").read_text()
    assert "Disabling IRQ #98" in said
    assert re.search(r"could not be kept: .*File exists.*test_that_cannot_be_kept", said)


def test_a_guest_without_a_log_leaves_all_the_rest(failed: Path) -> None:
    folder = _folder(failed, "test_that_has_no_log")
    assert "test_that_has_no_log" in (folder / "reproduce").read_text()
    assert "QEMU: " in (folder / "environment").read_text()
    (guest,) = [path for path in folder.iterdir() if path.is_dir()]
    assert "-bogus" in (guest / "machine.json").read_text()
    assert "bogus" in (guest / "qemu.log").read_text()
    assert "No such file" in (guest / "no-picture").read_text()


def test_a_failed_test_runs_again_from_what_it_left(failed: Path) -> None:
    command = (_folder(failed, "test_that_fails") / "reproduce").read_text()
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=1800)
    assert done.returncode == 1, done.stderr
    assert "as it should" in done.stdout
    assert re.search(r"1 failed in", done.stdout), done.stdout


def test_a_failed_tests_machine_runs_again_by_the_command_line(failed: Path) -> None:
    words = ["run", "--from", str(_folder(failed, "test_that_fails")), "--", "ls", "/dev/shirq"]
    done = subprocess.run(
        [sys.executable, "-m", "shirq_bench.cli", *words], capture_output=True, text=True, timeout=1800
    )
    assert done.stdout.split() == ["0000:00:04.0", "0000:00:08.0"], done.stderr
    assert "the machine of test_suite.py::test_that_fails" in done.stderr


def test_a_passed_test_leaves_nothing(failed: Path) -> None:
    assert len([path for path in (failed / "build/artefacts").iterdir() if path.is_dir()]) == 5


_OWN_RULES = """
from shirq_bench.vm.machine import Machine

def test_that_says_what_is_no_splat_here(boot):
    boot(Machine()).agent.succeed("echo 'Disabling IRQ #99' >/dev/kmsg")

def test_that_says_what_is_one(boot):
    boot(Machine()).agent.succeed("echo 'mydriver: gave up' >/dev/kmsg")
"""


def test_a_project_decides_for_itself_what_a_splat_is(kernel_name: str, tmp_path: Path) -> None:
    suites.arrange(tmp_path, _OWN_RULES)
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules/splats-deny").write_text("# It cannot go on.\nmydriver: gave up\n")
    (tmp_path / "rules/splats-allow").write_text("# There is none.\n")
    status, said = suites.run(tmp_path, "--shirq-kernel", kernel_name, "-o", "shirq_splats=rules")
    assert status == 1
    assert "mydriver: gave up (It cannot go on.)" in said
    assert re.search("2 passed, 1 error", said), said
    assert "ERROR test_suite.py::test_that_says_what_is_one" in said


_EXCUSED = """
import os, signal
import pytest
from shirq_bench.vm.machine import SHARED_LINE, Machine

@pytest.mark.invariants_broken("the second guest is killed", guest_ends=True, guest=1)
def test_that_kills_the_other_guest(boot):
    first, second = boot(Machine()), boot(Machine())
    os.kill(first.pid, signal.SIGKILL)
    first.wait_end(60)

@pytest.mark.invariants_broken("the line is left high", line_of="dev1")
def test_whose_log_is_too_small(boot):
    vm = boot(SHARED_LINE.with_(log_entries=4096))
    while not vm.log().header.dropped:
        vm.agent.succeed("cat /sys/bus/pci/devices/*/config >/dev/null")
"""


@pytest.mark.long
def test_a_waiver_is_for_what_it_names(kernel_name: str, tmp_path: Path) -> None:
    suites.arrange(tmp_path, _EXCUSED)
    status, said = suites.run(tmp_path, "--shirq-kernel", kernel_name)
    assert status == 1
    assert re.search("2 passed, 2 errors", said), said
    assert "QEMU ended with status -9" in said
    assert "entries did not fit into the event log, which holds 4096" in said


_TWICE = """
import pytest
from shirq_bench.vm.machine import Machine

@pytest.mark.parametrize("n", range(2))
def test_one_of_many(boot, n):
    assert boot(Machine()).agent.succeed("uname -s") == "Linux\\n"
"""


@pytest.mark.long
def test_two_workers_that_want_the_same_template_make_it_once(
    kernel_name: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    suites.arrange(tmp_path, _TWICE)
    root = tmp_path_factory.mktemp("cache")
    lacking = suites.without_templates(root, kernel_name)
    status, said = suites.run(tmp_path, "-n2", "-rP", "--shirq-kernel", kernel_name, **lacking)
    assert status == 0, said
    assert "2 workers [2 items]" in said
    assert said.count("shirq: making a template") == 1, said
    (entry,) = (root / "template").iterdir()
    assert not entry.name.startswith(".")


def _installed(target: kernel.Kernel, directory: Path) -> Path:
    """Lay a kernel out below ``directory`` as `make install modules_install` does; returns its vmlinuz."""
    (directory / "boot").mkdir(parents=True)
    for name in ("lib", "usr"):
        if (tree := target.modules / name).exists():
            (directory / name).symlink_to(tree.resolve())
    vmlinuz = directory / "boot" / f"vmlinuz-{target.release}"
    vmlinuz.symlink_to(target.vmlinuz.resolve())
    return vmlinuz


_OWN_KERNEL = """
def test_that_it_runs(vm):
    print("release", vm.agent.succeed("uname -r"))
    assert vm.agent.succeed("ls /dev/shirq").split() == ["0000:00:04.0", "0000:00:08.0"]
"""


@pytest.mark.long
def test_a_kernel_can_be_given_by_its_path(kernel_name: str, tmp_path: Path) -> None:
    """The bench compiles shirq.ko for that kernel, and installs the kernel's own modules in the guest."""
    target = kernel.get(kernel_name)
    vmlinuz = _installed(target, tmp_path / "root")
    suites.arrange(tmp_path, _OWN_KERNEL)
    status, said = suites.run(tmp_path, "-rP", "--shirq-kernel", str(vmlinuz), "test_suite.py")
    assert status == 0, said
    assert f"release {target.release}" in said
    assert f"test_that_it_runs[vmlinuz-{target.release}]" in said


_ADDED = """
from pathlib import Path
from shirq_bench.vm.machine import Machine, insmod

HERE = Path(__file__).parent
MACHINE = Machine(
    devices=("pci-serial,addr=4,chardev=wire",),
    wires=("wire",),
    modules=(str(HERE / "module"),),
    overlay=(str(HERE / "first"), str(HERE / "second")),
    prepare=(insmod("greeter", "whom=guest"),),
)

def test_that_all_of_it_is_there(boot):
    vm = boot(MACHINE)
    assert vm.agent.succeed("cat /etc/both /etc/only /etc/link; tool") == "second\\nfirst\\nfirst\\nruns\\n"
    assert "greeter: hello, guest" in vm.agent.succeed("dmesg")
"""


def test_a_machine_has_the_modules_and_files_that_it_asks_for(kernel_name: str, tmp_path: Path) -> None:
    suites.arrange(tmp_path, _ADDED)
    for name, files in {
        "first": {"etc/both": "first\n", "etc/only": "first\n", "usr/bin/tool": "#!/bin/sh\necho runs\n"},
        "second": {"etc/both": "second\n"},
        "module": {"Kbuild": "obj-m := greeter.o\n", "greeter.c": _GREETER, "greeter.o": "of another kernel"},
    }.items():
        for path, text in files.items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_text(text)
    (tmp_path / "first/usr/bin/tool").chmod(0o755)
    (tmp_path / "first/etc/link").symlink_to("only")
    status, said = suites.run(tmp_path, "--shirq-kernel", kernel_name)
    assert status == 0, said


_GREETER = """
#include <linux/module.h>
static char *whom = "nobody";
module_param(whom, charp, 0444);
static int __init greet(void) { pr_info("greeter: hello, %s\\n", whom); return 0; }
static void __exit leave(void) { }
module_init(greet);
module_exit(leave);
MODULE_LICENSE("GPL");
"""


_IN_A_ROW = """
used = []

def test_first(vm):
    used.append(vm)

def test_second(vm):
    used.append(vm)
    assert False, "a thread of this test may still use the guest"

def test_third(vm):
    used.append(vm)
    assert used[1] is used[0], "the guest of a test that passes is used again"
    assert used[2] is not used[1], "the guest of a test that fails is not"
"""


def test_guest_of_a_failed_test_is_not_used_again(tmp_path: Path, kernel_name: str) -> None:
    suites.arrange(tmp_path, _IN_A_ROW)
    _, said = suites.run(tmp_path, "--shirq-kernel", kernel_name, "--shirq-check-rewind")
    assert "1 failed, 2 passed" in said
