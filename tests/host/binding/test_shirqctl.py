# SPDX-License-Identifier: MIT
"""The command shirqctl on directory trees like /sys and /proc: its output and its exit status."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pci_tree import BRIDGE, EDU, LOST, MSI, NIC, OLD, PINLESS, Tree
from shirq import ctl, profile


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


Out = pytest.CaptureFixture[str]


def shirqctl(tree: Tree, *arguments: str) -> int:
    return ctl.main(arguments, tree.system)


def rows_of(out: str) -> dict[str, str]:
    return {row.split()[0]: " ".join(row.split()[1:]) for row in out.splitlines()}


def test_list_tells_who_shares_whose_line(tree: Tree, capsys: Out) -> None:
    assert shirqctl(tree, "list") == ctl.DONE
    rows = rows_of(capsys.readouterr().out)
    assert rows[EDU] == f"1234:11e9 00ff00 shirq 20 (INTA) shirq-edu {NIC} (e1000)"
    assert rows[NIC] == f"8086:100e 020000 e1000 20 (INTA) e1000 {EDU} (shirq)"
    assert rows[MSI] == "8086:2922 010601 ahci MSI 27 ahci -"
    assert rows[OLD] == "0001:0002 020000 - 21 (INTA) - -"


def test_list_names_the_uio_device_of_a_function(tree: Tree, capsys: Out) -> None:
    (tree.function(EDU) / "uio/uio3").mkdir(parents=True)
    assert shirqctl(tree, "list") == ctl.DONE
    assert rows_of(capsys.readouterr().out)[EDU].split()[2] == "shirq+uio3"


def test_uio_takes_a_profile_or_off(tree: Tree, capsys: Out) -> None:
    assert shirqctl(tree, "uio", EDU, "shirq-edu", "--off") == ctl.USAGE
    assert "--off takes no profile" in capsys.readouterr().err


def test_list_says_that_a_line_is_not_known(tree: Tree, capsys: Out) -> None:
    """For such a line, the list shows neither the firmware's number, which another controller uses, nor sharers."""
    assert shirqctl(tree, "list") == ctl.DONE
    out = capsys.readouterr().out
    assert f"{LOST}  1234:11e9  00ff00  -       not known (INTA)  shirq-edu  not known\n" in out
    assert f"\n{LOST}: its line is not known (no driver has enabled it): it may share any of those above\n" in out
    assert LOST not in "".join(row for row in out.splitlines() if not row.startswith(LOST))


def test_list_knows_the_line_of_a_function_by_its_slot(tree: Tree, capsys: Out) -> None:
    """Functions of one slot with the same pin share a line, so that one function with a driver is enough to know it."""
    tree.function(LOST).rename(tree.function("0000:00:0c.1"))
    assert shirqctl(tree, "list") == ctl.DONE
    rows = rows_of(capsys.readouterr().out)
    assert rows["0000:00:0c.1"].split()[3] == "20" and "0000:00:0c.1 (no driver)" in rows[EDU]
    config = bytearray((tree.function("0000:00:0c.1") / "config").read_bytes())
    config[0x3D] = 2
    (tree.function("0000:00:0c.1") / "config").write_bytes(config)
    assert shirqctl(tree, "list") == ctl.DONE
    assert "not known (INTB)" in rows_of(capsys.readouterr().out)["0000:00:0c.1"]


def test_list_says_that_a_function_has_no_pin(tree: Tree, capsys: Out) -> None:
    assert shirqctl(tree, "list") == ctl.DONE
    out = capsys.readouterr().out
    assert rows_of(out)[PINLESS] == "0001:0003 018000 - no pin - -" and BRIDGE not in out
    assert shirqctl(tree, "list", "--all") == ctl.DONE
    assert rows_of(capsys.readouterr().out)[BRIDGE] == "8086:29c0 060000 - no pin - -"


@pytest.mark.parametrize(("irq", "exists", "known"), [(0, True, False), (255, False, False), (20, True, True)])
def test_a_line_that_the_kernel_does_not_have_is_no_line(tree: Tree, irq: int, exists: bool, known: bool) -> None:
    (tree.function(NIC) / "irq").write_text(f"{irq}\n")
    (tree.root / f"sys/kernel/irq/{irq if exists else 20}").mkdir(parents=True)
    function = tree.system.function(NIC)
    assert (function.irq, function.unknown) == (
        (irq, None) if known else (None, "the kernel found no route for its pin")
    )


def test_list_json_has_null_and_a_reason_for_an_unknown_line(tree: Tree, capsys: Out) -> None:
    """In the JSON of `shirqctl list`, an unknown line is null, and a further key has the reason."""
    assert shirqctl(tree, "list", "--json") == ctl.DONE
    found = {each["address"]: each for each in json.loads(capsys.readouterr().out)}
    assert (found[EDU]["line"], found[EDU]["shares_with"]) == (20, [NIC])
    for address, why in ((LOST, "no driver has enabled it"), (MSI, "it uses MSI"), (PINLESS, "no interrupt pin")):
        assert (found[address]["line"], found[address]["shares_with"]) == (None, None)
        assert why in found[address]["line_unknown"]


def top(tree: Tree, monkeypatch: pytest.MonkeyPatch, capsys: Out, change: object) -> str:
    """Return the output of `shirqctl top` for line 20; `change` is called while the command waits."""
    monkeypatch.setattr("time.sleep", lambda seconds: change() if callable(change) else None)
    assert shirqctl(tree, "top", "--line", "20", "--count", "1") == ctl.DONE
    return capsys.readouterr().out


def test_top_names_the_function_that_asserts_and_the_rates(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    def change() -> None:
        tree.interrupts(700, unhandled=40)
        tree.stats(claims=301, declines=2)
        tree.config(NIC, status=0x18)
        tree.config(EDU, command=0x400, status=0x18)

    # The command reads the clock before and after its wait: one second passes.
    monkeypatch.setattr("time.monotonic", iter(range(100)).__next__)
    out = top(tree, monkeypatch, capsys, change)
    assert "line 20 (IO-APIC 20-fasteoi): 600 interrupts/s, handlers: eth0, shirq:0000:00:04.0" in out
    assert f"{NIC}  e1000        ASSERTS" in out
    assert f"{EDU}  shirq        pending, but its interrupt is disabled" in out
    assert "claims 300/s, declines 0/s" in out
    assert f"  asserting: {NIC}\n" in out
    assert "40 interrupts that no handler wanted" in out
    assert OLD not in out


def test_top_says_that_a_line_is_busy_and_nobody_admits_it(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    out = top(tree, monkeypatch, capsys, lambda: tree.interrupts(700, unhandled=0))
    assert "asserting: no function says so now" in out and "no handler wanted" not in out


def test_top_names_an_asserting_function_whose_line_is_not_known(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    """The function is shown with a requested line and each line that stormed, but never by the firmware's number."""

    def change() -> None:
        tree.interrupts(700, unhandled=600)
        tree.config(LOST, status=0x18)

    out = top(tree, monkeypatch, capsys, change)
    suspect = (
        f"  {LOST}  no driver    ASSERTS, and its line is not known (no driver has enabled it): it may be this one\n"
    )
    assert suspect in out and "no function says so now" not in out
    assert shirqctl(tree, "top", "--count", "1") == ctl.DONE
    out = capsys.readouterr().out
    assert "line 10" not in out and suspect not in out, (
        "a line that did not storm between these samples must not be shown"
    )
    assert out.endswith(
        "line not known: these may be on any of those above\n"
        f"  {LOST}  no driver    ASSERTS (no driver has enabled it)\n"
    )


def test_top_shows_a_stormed_line_without_known_functions(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    """`shirqctl top` shows a line that stormed even if no function is known to use it."""
    for address in (EDU, NIC):
        (tree.function(address) / "enable").write_text("0\n")
    tree.config(LOST, status=0x18)
    monkeypatch.setattr("time.sleep", lambda seconds: tree.interrupts(700, unhandled=600))
    assert shirqctl(tree, "top", "--count", "1", "--json") == ctl.DONE
    shown = json.loads(capsys.readouterr().out)
    assert [(each["line"], each["may_assert"]) for each in shown["lines"]] == [(20, [LOST]), (21, [])]
    line = shown["lines"][0]
    assert (line["functions"], line["unhandled"], line["handlers"]) == ([], 600, ["eth0", "shirq:0000:00:04.0"])
    lost = {each["address"]: each for each in shown["line_unknown"]}
    assert lost.keys() == {EDU, NIC, LOST} and all(each["line"] is None for each in lost.values())


def test_list_says_which_lines_are_off_and_who_asserts(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    """The list names a line that the kernel has given up, since when, and every function that asserts now."""
    tree.line("on")
    assert shirqctl(tree, "list") == ctl.DONE
    assert "line 20:" not in (out := capsys.readouterr().out) and "asserting" not in out
    tree.line("off 88.500000")
    monkeypatch.setattr("time.monotonic", lambda: 100.0)
    assert shirqctl(tree, "list") == ctl.DONE
    out = capsys.readouterr().out
    assert "\nline 20: GIVEN UP by the kernel 12 s ago" in out and "asserting now: no function says so" in out
    tree.config(NIC, status=0x18)
    tree.config(LOST, status=0x18)
    tree.line("disabled")
    assert shirqctl(tree, "list") == ctl.DONE
    out = capsys.readouterr().out
    assert "\nline 20: DISABLED by the kernel or a driver" in out
    assert f"\nasserting now: {LOST} (line not known), {NIC} (line 20)\n" in out
    assert shirqctl(tree, "list", "--json") == ctl.DONE
    rows = {each["address"]: each["line_off"] for each in json.loads(capsys.readouterr().out)}
    assert rows[EDU] == rows[NIC] and rows[EDU].startswith("DISABLED") and rows[OLD] is None


def test_top_says_that_the_kernel_has_given_a_line_up(tree: Tree, monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    tree.line("off 60.0")
    monkeypatch.setattr("time.monotonic", itertools.count(100).__next__)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    assert shirqctl(tree, "top", "--count", "1", "--json") == ctl.DONE
    lines = {each["line"]: each["off"] for each in json.loads(capsys.readouterr().out)["lines"]}
    assert lines[20].startswith("GIVEN UP by the kernel 42 s ago") and lines[21] is None


def test_simulate_hands_the_kept_registers_to_the_next_program(tree: Tree, tmp_path: Path, capsys: Out) -> None:
    """The unmask program finds in r4 to r7 what the irq program has left there, but only if that has claimed."""
    text = (profile.folder() / "shirq-edu.toml").read_text()
    text = text.replace("    skip_if_zero r0, end\n", "    load r5, 0x77\n    skip_if_zero r0, end\n", 1)
    path = tmp_path / "shirq-edu.toml"
    path.write_text(text.replace('unmask = """\n', 'unmask = """\n    add r5, 1\n', 1))
    for active, r5 in ((1, "0x78"), (0, "0x1")):
        assert shirqctl(tree, "simulate", str(path), "--program", "all", "--set", f"INT_ACTIVE={active}") == ctl.DONE
        out = capsys.readouterr().out
        assert f" r5 = {r5}\n" in out.partition("unmask:")[2].partition("release:")[0]


def test_list_and_top_show_the_messages_of_a_device(tree: Tree, monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    """`list` shows the numbers of a function's messages, and `top` the rate of each message of the module's devices."""
    (tree.function(MSI) / "msi_irqs/27").rmdir()
    for number in (26, 27, 29):
        (tree.function(EDU) / f"msi_irqs/{number}").mkdir(parents=True)
    assert shirqctl(tree, "list") == ctl.DONE
    assert rows_of(capsys.readouterr().out)[EDU] == "1234:11e9 00ff00 shirq MSI 26-27, 29 shirq-edu -"
    monkeypatch.setattr("time.sleep", lambda _: None)
    assert shirqctl(tree, "top", "--count", "1") == ctl.DONE
    rows = capsys.readouterr().out.splitlines()
    at = next(n for n, row in enumerate(rows) if row.startswith("message 27 (PCI-MSI 512000-edge): "))
    assert rows[at + 1].split(maxsplit=2) == [EDU, "shirq", "uses messages, not its pin"]
    assert shirqctl(tree, "list", "--json") == ctl.DONE
    (found,) = (each for each in json.loads(capsys.readouterr().out) if each["address"] == EDU)
    assert (found["messages"], found["msi"], found["line"]) == ([26, 27, 29], True, None)


def test_top_says_that_a_line_does_not_exist(tree: Tree, capsys: Out) -> None:
    assert shirqctl(tree, "top", "--line", "99", "--count", "1") == ctl.USAGE
    assert "there is no line 99: the lines are 1, 20, 27" in capsys.readouterr().err


def test_stats_shows_the_counters_of_bound_functions(tree: Tree, capsys: Out) -> None:
    assert shirqctl(tree, "stats") == ctl.DONE
    assert capsys.readouterr().out == f"{EDU}: claims=1 declines=2\n"
    assert shirqctl(tree, "stats", NIC) == ctl.FAILED
    assert "bind it to shirq first" in capsys.readouterr().err


def test_simulate_shows_the_steps_the_verdict_and_the_registers(tree: Tree, capsys: Out) -> None:
    assert shirqctl(tree, "simulate", "rtl8139", "--set", "IntrStatus=0x21", "--set", "intrmask=1") == ctl.DONE
    out = capsys.readouterr().out
    assert "read r0, intrstatus, gone_if_ones" in out and "-> 0x21" in out
    assert "=> claimed r0=0x21 r1=0x1 r2=0x1" in out
    assert "IntrMask = 0x0" in out and "IntrStatus = 0x21" in out
    assert shirqctl(tree, "simulate", "rtl8139", "--set", "IntrStatus=0xffff") == ctl.DONE
    assert "=> the device is gone" in capsys.readouterr().out
    assert shirqctl(tree, "simulate", "rtl8139") == ctl.DONE
    assert "=> declined" in capsys.readouterr().out


def test_disassemble_shows_names_or_addresses(tree: Tree, capsys: Out) -> None:
    assert shirqctl(tree, "disassemble", "uhci", "--program", "irq") == ctl.DONE
    assert "    write usbsts, r0\n" in capsys.readouterr().out
    assert shirqctl(tree, "disassemble", "uhci", "--addresses") == ctl.DONE
    assert "    write16 bar4+0x2, r0\n" in capsys.readouterr().out


def test_check_says_that_a_profile_is_right_or_where_it_is_wrong(tree: Tree, tmp_path: Path, capsys: Out) -> None:
    """`shirqctl check` reports that a profile is correct, or the place and the rule of the mistake."""
    assert shirqctl(tree, "check", "pcnet") == ctl.DONE
    text = (profile.folder() / "pcnet.toml").read_text()
    path = tmp_path / "pcnet.toml"
    path.write_text(text.replace("back:\n    write RAP, r1", "back:\n    load r1, 0"))
    assert shirqctl(tree, "check", str(path)) == ctl.FOUND
    out = capsys.readouterr().out
    assert ": index-kept: irq: RAP is left as this write sets it" in out and f"{path}:" in out
    assert "index-kept: The interrupt may come after" in out
    path.write_text(text.replace("bar0+0x12", "bar0+0x22"))
    assert shirqctl(tree, "check", str(path)) == ctl.FOUND
    assert "the access ends past the end of the space" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (
            ["check", "nosuch"],
            ctl.USAGE,
            "there is no profile 'nosuch': write the path of a .toml file, or one of aectc",
        ),
        (["check", "/nosuch/x.toml"], ctl.USAGE, "/nosuch/x.toml: No such file or directory"),
        (["simulate", "uhci", "--set", "ISR=1"], ctl.USAGE, "uhci has no register 'ISR': it has USBCMD, USBSTS"),
        (["simulate", "uhci", "--set", "USBSTS=0x10000"], ctl.USAGE, "the register has 16 bits"),
        (["lint"], ctl.USAGE, "lint needs profiles, or --rules"),
        (["watch", OLD], ctl.USAGE, "no profile fits 0000:00:05.0 (0001:0002)"),
        (["watch", "00:05.0"], ctl.USAGE, "'00:05.0' is no PCI address"),
        (["exec", EDU, "frob"], ctl.FOUND, "'frob' is no operation"),
        (["exec", EDU, "load r0, 1", "--reg", "r9=1"], ctl.USAGE, "'r9' is no register: write r0=1 to r7=1"),
        (["exec", EDU, "read r0, INT_MASK"], ctl.FAILED, "bind() the function to shirq first"),
        (["bind", PINLESS], ctl.FAILED, "it has no interrupt pin (at most MSI): shirq serves INTx"),
        (["bind", "0000:00:06.0"], ctl.FAILED, "there is no PCI function 0000:00:06.0"),
    ],
)
def test_an_error_has_its_status_and_says_what_would_be_right(
    tree: Tree, capsys: Out, arguments: list[str], status: int, text: str
) -> None:
    assert shirqctl(tree, *arguments) == status
    error = capsys.readouterr().err
    assert error.startswith("shirqctl: ") and text in error


@pytest.mark.parametrize("arguments", [[], ["--messages", "2"]])
@pytest.mark.parametrize(("by", "status"), [("SIGINT", ctl.DONE), ("SIGTERM", ctl.DONE), ("", ctl.FAILED)])
def test_watch_ends_at_a_signal_whenever_it_comes(tree: Tree, by: str, status: int, arguments: list[str]) -> None:
    """Without a signal, it is an error that the device is disarmed. Signals need a process of their own."""
    script = Path(__file__).parents[1] / "watched.py"
    done = subprocess.run(
        [sys.executable, script, tree.root, EDU, by, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (status, "" if by else "shirqctl: not armed\n")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["simulate", "uhci", "--set", "USBSTS"], "'USBSTS': write NAME=NUMBER"),
        (["top", "--interval", "0"], "0: write a number above 0"),
        (["top", "--interval", "inf"], "inf: write a number above 0"),
        (["watch", EDU, "--timeout", "1e300"], "1e300: write a number above 0"),
        (["frobnicate"], "invalid choice"),
        ([], "VERB"),
    ],
)
def test_a_command_line_that_cannot_be_read_ends_with_status_2(
    tree: Tree, capsys: Out, arguments: list[str], text: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        shirqctl(tree, *arguments)
    assert ended.value.code == ctl.USAGE
    assert text in capsys.readouterr().err


def test_help_teaches_new_cards_and_the_exit_statuses(tree: Tree, capsys: Out) -> None:
    """The help explains the steps for a new card and the exit statuses."""
    with pytest.raises(SystemExit):
        shirqctl(tree, "--help")
    out = capsys.readouterr().out
    assert "Steps for a new card" in out and "Exit status:" in out
    for verb in ("list", "bind", "unbind", "check", "lint", "disassemble", "simulate", "exec", "watch", "stats", "top"):
        assert f"\n    {verb}" in out


def test_output_that_nobody_reads_ends_the_command() -> None:
    """`shirqctl ... | head` ends in silence, with status 0."""
    reader, writer = os.pipe()
    os.close(reader)
    script = "import sys; from shirq import ctl; sys.exit(ctl.main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", script, "lint", "--rules"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (ctl.DONE, "")
