# SPDX-License-Identifier: MIT
"""`shirq collect`'s script gathers what an import needs, and nothing personal."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from shirq_bench.cli.intake import SCRIPT
from shirq_bench.intake import join, text
from shirq_bench.intake.report import Device, Report

#: What must not be in the archive, and how the machine shows it.
SECRETS = {
    "host name": "anna-laptop",
    "user name": "annamaria",
    "MAC": "52:54:00:ab:cd:ef",
    "MAC with dashes": "52-54-00-ab-cd-ef",
    "serial number of a function": "00-1b-21-ff-ff-5a-6b-7c",
    "serial number of a stick": "4C530001230405117",
    "vital product data": "CN7792160R",
    "UUID of a disk": "2f1d8a6e-3c0b-4c1f-9a62-0b9d1c2e3f40",
    "IPv4": "192.168.17.23",
    "IPv6": "2001:db8:85a3::8a2e:370:7334",
    "long IPv6": "2001:0db8:85a3:0000:0000:8a2e:0370:7334",
    "mail": "anna@example.org",
    "password": "hunter2",
    "crypt name": "luks-geheim",
    "escaped UUID": r"5e0c7b1a\x2d91f3\x2d4d0e\x2d8a77\x2d6f5e4d3c2b1a",
    "MAC without colons": "wlx00c0ca123456",
    "builder": "anna@annas-pc",
    "account": "karla",
    "second IPv4": "10.11.12.13",
    "short IPv6": "2a02:810d:1:2:3:4:5:789",
    "argument of init": "topsecret",
}
DMESG = f"""\
[    0.000000] Linux version 6.1.0-57-amd64 ({SECRETS["builder"]}) (gcc-12 (Debian 12.2.0-14) 12.2.0) #1 SMP
[    0.000000] Command line: root=UUID={SECRETS["UUID of a disk"]} irqpoll pw={SECRETS["password"]} pci=nomsi
[    0.010000] Kernel command line: root=/dev/mapper/{SECRETS["crypt name"]} irqpoll pci=nomsi x={SECRETS["password"]}
[    0.010001] Unknown kernel command line parameters "pw={SECRETS["password"]}", will be passed to user space.
[    0.500000] pci 0000:00:1f.2: PCI INT B -> GSI 19 (level, low) -> IRQ 19
[    1.000000] usb 1-1: SerialNumber: {SECRETS["serial number of a stick"]}
[    2.000000] e1000 0000:02:01.0 eth0: (PCI:33MHz:32-bit) {SECRETS["MAC"]}
[    3.000000] systemd[1]: Hostname set to <{SECRETS["host name"]}>.
[    4.000000] wlan0: authenticated {SECRETS["MAC with dashes"]}, from /home/{SECRETS["user name"]}/x
[    3.500000] Run /init as init process
[    3.500001]   with environment:
[    3.500002]     pw={SECRETS["argument of init"]}
[    3.600000] systemd[1]: dev-disk-by\\x2duuid-{SECRETS["escaped UUID"]}.device
[    3.700000] audit: type=1112 audit(1700000000.1:9): acct="{SECRETS["account"]}"
[    5.000000] NFS: server {SECRETS["IPv4"]} {SECRETS["second IPv4"]}. {SECRETS["IPv4"]}:2049 mail {SECRETS["mail"]}
[    5.000001] NFS: {SECRETS["IPv6"]} {SECRETS["long IPv6"]} {SECRETS["short IPv6"]} {SECRETS["MAC without colons"]}
[   90.000000] irq 19: nobody cared (try booting with the "irqpoll" option)
[   90.000001] CPU: 0 PID: 0 Comm: swapper/0 Not tainted 6.1.0-57-amd64 #1
[   90.000002] handlers:
[   90.000003] [<00000000deadbeef>] ahci_single_level_irq_intr [ahci]
[   90.000004] Disabling IRQ #19
"""
LSPCI = f"""\
00:1f.2 SATA controller [0106]: Intel Corporation 6 Series AHCI [8086:1c02] (rev 05) (prog-if 01 [AHCI 1.0])
	Control: I/O+ Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR- FastB2B- DisINTx-
	Status: Cap+ 66MHz+ UDF- FastB2B+ ParErr- DEVSEL=medium >TAbort- <TAbort- <MAbort- >SERR- <PERR- INTx+
	Interrupt: pin B routed to IRQ 19
	Region 5: Memory at fe525000 (32-bit, non-prefetchable) [size=2K]
	Capabilities: [d0] Vital Product Data
		[SN] Serial number: {SECRETS["vital product data"]}
	Capabilities: [140 v1] Device Serial Number {SECRETS["serial number of a function"]}
	Kernel driver in use: ahci
"""
INTERRUPTS = """\
           CPU0       CPU1
  0:         30          0   IO-APIC   2-edge      timer
 19:     100000          1   IO-APIC  19-fasteoi   ahci[0000:00:1f.2]
NMI:          0          0   Non-maskable interrupts
"""


def machine(root: Path) -> Path:
    """Make the files of a machine with `SECRETS`; returns a folder of programs for its PATH."""
    files = {
        "proc/sys/kernel/hostname": SECRETS["host name"],
        "proc/version": f"Linux version 6.1.0-57-amd64 (root@{SECRETS['host name']}.example.org) (gcc-12) #1 SMP",
        "proc/cmdline": f"root=UUID={SECRETS['UUID of a disk']} irqpoll pci=nomsi pw={SECRETS['password']} quiet",
        "proc/interrupts": INTERRUPTS,
        "proc/modules": "ahci 45056 2 - Live 0xffffffffc0000000\n",
        "sys/kernel/irq/19/actions": "ahci[0000:00:1f.2]",
        "sys/kernel/irq/19/chip_name": "IO-APIC",
        "sys/kernel/irq/19/type": "level",
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content + "\n")
    device = root / "sys/bus/pci/devices/0000:00:1f.2"
    device.mkdir(parents=True)
    space = bytearray(256)
    space[0:4], space[4:8], space[8:12] = b"\x86\x80\x02\x1c", b"\x07\x00\xb8\x02", b"\x05\x01\x06\x01"
    space[0x3C:0x3E] = b"\x0b\x02"
    (device / "config").write_bytes(space)
    for name, content in {"class": "0x010601", "vendor": "0x8086", "device": "0x1c02", "irq": "19"}.items():
        (device / name).write_text(content + "\n")
    (device / "driver").symlink_to("/sys/bus/pci/drivers/ahci")
    tools = root / "tools"
    tools.mkdir()
    for program in (
        "cat",
        "grep",
        "sed",
        "od",
        "tar",
        "gzip",
        "tr",
        "id",
        "mktemp",
        "mkdir",
        "rm",
        "readlink",
        "sh",
        "env",
    ):
        (tools / program).symlink_to(shutil.which(program) or program)
    return tools


def program(tools: Path, name: str, output: str) -> None:
    (tools / f"{name}.txt").write_text(output)
    (tools / name).write_text(f'#!/bin/sh\n[ "$1" = -tv ] || cat {tools / name}.txt\n')
    (tools / name).chmod(0o755)


def collect(tmp_path: Path, tools: Path, shell: str = "sh") -> Path:
    """Run the script on the machine in ``tmp_path``/root; returns the archive."""
    # Its own tools first, so that this machine's lspci and dmesg are not found.
    script = SCRIPT.read_text().replace("PATH=$PATH:/sbin:/usr/sbin", "")
    done = subprocess.run(
        [str(shutil.which(shell)), "-s"],
        input=script,
        text=True,
        cwd=tmp_path,
        env={"PATH": str(tools), "ROOT": str(tmp_path / "root"), "TMPDIR": str(tmp_path)},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "have a look at it" in done.stderr
    return tmp_path / "shirq-report.tar.gz"


def read(archive: Path) -> Report:
    return join.report(text.read([archive]))


def function(report: Report) -> Device:
    return next(one for one in report.devices if one.address and one.address.endswith("00:1f.2"))


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    return machine(tmp_path / "root")


def test_nothing_personal_is_collected(tmp_path: Path, tools: Path) -> None:
    program(tools, "dmesg", DMESG)
    program(tools, "lspci", LSPCI)
    with tarfile.open(collect(tmp_path, tools)) as archive:
        texts = {one.name: archive.extractfile(one) for one in archive.getmembers() if one.isfile()}
        content = {name: file.read().decode() for name, file in texts.items() if file}
    assert {Path(name).name for name in content} >= {
        "dmesg.txt",
        "lspci.txt",
        "interrupts.txt",
        "irq.txt",
        "cmdline.txt",
    }
    found = [(what, name) for what, secret in SECRETS.items() for name, said in content.items() if secret in said]
    assert found == []


def test_the_facts_are_collected(tmp_path: Path, tools: Path) -> None:
    program(tools, "dmesg", DMESG)
    program(tools, "lspci", LSPCI)
    report = read(collect(tmp_path, tools))
    assert report.kernel and report.kernel.value == "6.1.0-57-amd64"
    assert report.cmdline and "irqpoll pci=nomsi" in report.cmdline.value
    (line,) = [one for one in report.lines if one.irq == 19]
    assert line.died and line.get("total") == 100_001 and line.get("trigger") == "level"
    device = function(report)
    assert (device.get("vendor"), device.get("pin"), device.get("irq")) == ("8086", "B", 19)
    assert device.get("intx") is True and device.get("driver") == "ahci"


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_configuration_space_stands_in_for_lspci(tmp_path: Path, tools: Path, shell: str) -> None:
    device = function(read(collect(tmp_path, tools, shell)))
    assert (device.get("vendor"), device.get("device")) == ("8086", "1c02")
    assert (device.get("pin"), device.get("rev"), device.get("driver"), device.get("intx")) == ("B", "05", "ahci", True)
    # The kernel's number, not that of the firmware in the register Interrupt Line.
    told = device.facts["irq"]
    assert (told.value, Path(told.at.file).name) == (19, "lspci.txt")


def test_a_damaged_archive_is_refused(tmp_path: Path, tools: Path) -> None:
    archive = collect(tmp_path, tools)
    archive.write_bytes(archive.read_bytes()[:-300])
    with pytest.raises(text.NoText, match="the archive is damaged"):
        read(archive)


def test_an_archive_without_texts_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "empty.tar.gz", "w:gz"):
        pass
    with pytest.raises(text.NoText, match="the archive has no text file"):
        text.read([tmp_path / "empty.tar.gz"])


def test_the_script_needs_no_more_than_posix(tmp_path: Path) -> None:
    """It is also read by the smallest shell there is."""
    assert os.access(SCRIPT, os.R_OK)
    for shell in ("dash", "bash --posix"):
        done = subprocess.run([*shell.split(), "-n", SCRIPT], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
