# SPDX-License-Identifier: MIT
"""Texts of kinds that the reports do not have: old kernels, other logs, dumps, trees, pages, listings of sysfs."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

from shirq_bench.intake import join, output, text
from shirq_bench.intake.report import Report


def imported(*texts: str) -> Report:
    return join.report(text.clean([(f"text{n}", dedent(one).lstrip("\n")) for n, one in enumerate(texts, 1)]))


def facts(*texts: str) -> dict[str, Any]:
    return output.data(imported(*texts))


def line(found: dict[str, Any], irq: int) -> dict[str, Any]:
    (one,) = [one for one in found["line"] if one["irq"] == irq]
    assert isinstance(one, dict)
    return one


def device(found: dict[str, Any], address: str) -> dict[str, Any]:
    (one,) = [one for one in found["device"] if one.get("address") == address]
    assert isinstance(one, dict)
    return one


def test_a_linux_2_4_with_an_8259_is_read() -> None:
    """The 8259 does not say which lines are level-triggered; IRQ 255 is no line."""
    found = facts(
        """
        Linux version 2.4.18-bf2.4 (root@zombie) (gcc version 2.95.4) #1 Son Apr 14 09:53:28 CEST 2002
        Kernel command line: auto BOOT_IMAGE=Linux ro root=301
        PCI: Found IRQ 11 for device 00:0b.0
        PCI: Sharing IRQ 11 with 00:07.2
        $ cat /proc/interrupts
                   CPU0
          0:     814201          XT-PIC  timer
          1:       3381          XT-PIC  keyboard
          2:          0          XT-PIC  cascade
         11:       5122          XT-PIC  eth0, usb-uhci
         14:      12003          XT-PIC  ide0
        NMI:          0
        ERR:          0
        """,
        """
        00:07.2 USB Controller: VIA Technologies, Inc. UHCI USB (rev 16) (prog-if 00 [UHCI])
        \tSubsystem: Unknown device 0925:1234
        \tFlags: bus master, medium devsel, latency 32, IRQ 11
        \tI/O ports at d400 [size=32]
        \tCapabilities: [80] Power Management version 2

        00:0b.0 Ethernet controller: Realtek Semiconductor Co., Ltd. RTL-8139 (rev 10)
        \tFlags: bus master, medium devsel, latency 32, IRQ 11

        00:0c.0 Multimedia controller: Philips Semiconductors SAA7146 (rev 01)
        \tFlags: medium devsel, IRQ 255
        """,
    )
    assert found["kernel"] == "2.4.18-bf2.4"
    assert found["cmdline"] == "auto BOOT_IMAGE=Linux ro root=301"
    assert (found["cpus"], found["not_level"], found["no_line"]) == (1, [0, 1, 2, 14], [255])
    assert found["line"] == [
        {"irq": 11, "controller": "XT-PIC", "given_up": 0, "names": ["eth0", "usb-uhci"], "total": 5122}
    ]
    assert device(found, "00:0b.0")["irq"] == 11
    assert "class" not in device(found, "00:0b.0")
    assert device(found, "00:07.2")["capabilities"] == ["pm@80"]
    assert device(found, "00:0c.0")["irq"] == 255
    # eth0 and usb-uhci are functions that lspci lists.
    assert len(found["device"]) == 3


def test_a_bogus_return_value_does_not_give_a_line_up() -> None:
    found = facts(
        """
        [ 1200.100001] irq event 18: bogus return value ffffffea
        [ 1200.100010] Pid: 0, comm: swapper Not tainted (2.6.32-5-686 #1)
        [ 1200.100012] Call Trace:
        [ 1200.100020]  [<c107c5f6>] ? __report_bad_irq+0x24/0x69
        [ 1200.100025]  [<c107c82e>] ? handle_fasteoi_irq+0x7d/0x99
        [ 1200.100030] handlers:
        [ 1200.100033] [<f8123456>] (bttv_irq+0x0/0x380 [bttv])
        [ 1300.000001] irq 19: nobody cared (try booting with the "irqpoll" option)
        [ 1300.000010] Pid: 0, comm: swapper Not tainted (2.6.32-5-686 #1)
        [ 1300.000020]  [<c107c5f6>] ? __report_bad_irq+0x24/0x69
        [ 1300.000025]  [<c107c82e>] ? handle_fasteoi_irq+0x7d/0x99
        [ 1300.000030] handlers:
        [ 1300.000033] [<f8123456>] (bttv_irq+0x0/0x380 [bttv])
        [ 1300.000035] [<f8200000>] (usb_hcd_irq+0x0/0x60 [usbcore])
        [ 1300.000040] Disabling IRQ #19
        """
    )
    assert line(found, 18) == {"irq": 18, "given_up": 0}
    assert line(found, 19) == {
        "irq": 19,
        "trigger": "level",
        "given_up": 1,
        "handlers": ["bttv_irq", "usb_hcd_irq"],
        "modules": ["bttv", "usbcore"],
    }
    assert found["kernel"] == "2.6.32-5-686"
    assert found["device"] == [{"irq": 19, "driver": "bttv", "known_by": "driver"}]


def test_a_dump_without_text_is_read() -> None:
    """The register Interrupt Line has the firmware's number, which is no IRQ of the kernel."""
    found = facts(
        """
        03:04.0 0680: 10b5:9050 (rev 02)
        00: b5 10 50 90 03 00 88 02 02 00 80 06 00 00 00 00
        10: 00 00 30 fe 01 e1 00 00 81 e1 00 00 00 00 00 00
        20: 00 00 00 00 00 00 00 00 00 00 00 00 b5 10 aa 30
        30: 00 00 00 00 00 00 00 00 00 00 00 00 0b 01 00 00

        00:1c.0 0604: 8086:1c10 (rev b5)
        00: 86 80 10 1c 07 04 10 00 b5 00 04 06 10 00 81 00
        10: 00 00 00 00 00 00 00 00 00 03 03 00 f0 00 00 00
        20: 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
        30: 00 00 00 00 40 00 00 00 00 00 00 00 ff 01 00 00

        00:1e.0 0604: 8086:244e (rev a5)
        00: ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff
        """
    )
    assert device(found, "03:04.0") == {
        "address": "03:04.0",
        "vendor": "10b5",
        "device": "9050",
        "subsystem": "10b5:30aa",
        "class": "0680",
        "rev": "02",
        "pin": "A",
        "io": True,
        "mem": True,
        "busmaster": False,
        "disintx": False,
        "intx": True,
        "cap": False,
        "disintx_capable": "unknown",
        "bars": [
            {"index": 0, "kind": "mem", "bits": 32},
            {"index": 1, "kind": "io"},
            {"index": 2, "kind": "io"},
        ],
        "behind": "00:1c.0",
        "known_by": "ids",
    }
    assert device(found, "00:1c.0")["disintx_capable"] == "yes"
    assert device(found, "00:1e.0") == {
        "address": "00:1e.0",
        "vendor": "8086",
        "device": "244e",
        "class": "0604",
        "rev": "a5",
        "known_by": "ids",
    }
    assert found["line"] == []


def test_journals_with_other_times_are_read() -> None:
    """ISO times, dmesg -T, levels, and the marks between boots."""
    found = facts(
        """
        -- Boot 6c7a4e0f5a7c4a0b9f9d6a4b8f1c2d3e --
        2024-01-05T10:11:12+01:00 pc kernel: Linux version 6.8.0-45-generic (buildd@lcy02) #45-Ubuntu SMP
        2024-01-05T10:11:12+01:00 pc kernel: Command line: BOOT_IMAGE=/vmlinuz-6.8.0-45-generic root=UUID=1 ro
        2024-01-05T10:20:00+01:00 pc kernel: irq 17: nobody cared (try booting with the "irqpoll" option)
        2024-01-05T10:20:00+01:00 pc kernel: CPU: 0 UID: 0 PID: 0 Comm: swapper/0 Tainted: G W OE  6.8.0-45-generic #45
        2024-01-05T10:20:00+01:00 pc kernel:  handle_fasteoi_irq+0x7d/0x1c0
        2024-01-05T10:20:00+01:00 pc kernel: handlers:
        2024-01-05T10:20:00Z pc kernel: [<0000aaaa>] irq_default_primary_handler threaded [<0000bbbb>] a_thread [lis3]
        2024-01-05T10:20:00+01:00 pc kernel: Disabling IRQ #17
        """,
        """
        [Fri Jan  5 10:20:00 2024] irq 17: nobody cared (try booting with the "irqpoll" option)
        [Fri Jan  5 10:20:00 2024] Disabling IRQ #17
        """,
        """
        kern  :emerg : [  123.456789] irq 18: nobody cared (try booting with the "irqpoll" option)
        kern  :emerg : [  123.456800] Disabling IRQ #18
        <4>[  124.000000][    C1] irq 19: nobody cared (try booting with the "irqpoll" option)
        """,
    )
    assert line(found, 17) == {
        "irq": 17,
        "trigger": "level",
        "given_up": 1,
        "handlers": ["irq_default_primary_handler"],
        "modules": ["lis3"],
    }
    assert (line(found, 18)["given_up"], line(found, 19)["given_up"]) == (1, 1)
    assert (found["kernel"], found["cmdline"]) == (
        "6.8.0-45-generic",
        "BOOT_IMAGE=/vmlinuz-6.8.0-45-generic root=UUID=1 ro",
    )


def test_a_tree_with_bridges_behind_bridges_is_read() -> None:
    found = facts(
        r"""
        -+-[0000:80]-+-00.0  Intel Corporation Xeon DMI2
         |           \-02.0-[81]----00.0  Samsung Electronics Co Ltd NVMe SSD
         \-[0000:00]-+-00.0  Intel Corporation Xeon DMI2
                     +-01.0-[01]--+-00.0  Intel Corporation I350 Gigabit Network Connection
                     |            \-00.1  Intel Corporation I350 Gigabit Network Connection
                     +-1c.0-[02-04]----00.0-[03-04]--+-08.0  Digium, Inc. Wildcard TE220
                     |                               \-09.0-[04]----01.0  PLX Technology, Inc. PCI9030
                     \-1f.3  Intel Corporation SMBus Controller
        """
    )
    behind = {one["address"]: one.get("behind") for one in found["device"]}
    assert behind == {
        "80:00.0": None,
        "80:02.0": None,
        "81:00.0": "80:02.0",
        "00:00.0": None,
        "00:01.0": None,
        "01:00.0": "00:01.0",
        "01:00.1": "00:01.0",
        "00:1c.0": None,
        "02:00.0": "00:1c.0",
        "03:08.0": "02:00.0",
        "03:09.0": "02:00.0",
        "04:01.0": "03:09.0",
        "00:1f.3": None,
    }
    assert device(found, "03:08.0")["name"] == "Digium, Inc. Wildcard TE220"
    assert device(found, "00:1c.0")["known_by"] == "address"


def test_a_web_page_is_read() -> None:
    found = facts(
        "<html><body><p>Help!</p><pre>"
        "[   12.000001] irq 20: nobody cared (try booting with the &quot;irqpoll&quot; option)<br>"
        "[   12.000002]  &lt;IRQ&gt;<br>[   12.000003]  handle_fasteoi_irq+0x1/0x2<br />[   12.000004] handlers:<br/>"
        "[   12.000005] [&lt;ffffffffa0000000&gt;] azx_interrupt [snd_hda_intel]<br>"
        "[   12.000006] Disabling IRQ #20</pre>\n"
        "<table><tr><td>20:</td><td>100001</td><td>IO-APIC</td>"
        "<td>20-fasteoi</td><td>snd_hda_intel:card0</td></tr></table>\n"
    )
    assert line(found, 20) == {
        "irq": 20,
        "hwirq": 20,
        "controller": "IO-APIC",
        "trigger": "level",
        "given_up": 1,
        "given_up_at_most": 1,
        "handlers": ["azx_interrupt"],
        "modules": ["snd_hda_intel"],
        "names": ["snd_hda_intel:card0"],
        "total": 100001,
    }
    assert [one["driver"] for one in found["device"]] == ["snd_hda_intel"]


def test_a_listing_of_sys_kernel_irq_is_read() -> None:
    found = facts(
        """
        # grep . /sys/kernel/irq/*/*
        /sys/kernel/irq/18/actions:i801_smbus,enp3s0
        /sys/kernel/irq/18/chip_name:IO-APIC
        /sys/kernel/irq/18/hwirq:18
        /sys/kernel/irq/18/name:fasteoi
        /sys/kernel/irq/18/per_cpu_count:0,41022,122465,0
        /sys/kernel/irq/18/type:level
        /sys/kernel/irq/24/actions:PCIe PME
        /sys/kernel/irq/24/chip_name:PCI-MSI
        /sys/kernel/irq/24/type:edge
        """
    )
    assert found["line"] == [
        {
            "irq": 18,
            "hwirq": 18,
            "controller": "IO-APIC",
            "trigger": "level",
            "given_up": 0,
            "names": ["i801_smbus", "enp3s0"],
            "total": 163487,
        }
    ]


def test_contradictions_are_kept_with_their_places() -> None:
    report = imported(
        """
        00:1f.2 SATA controller [0106]: Intel Corporation AHCI [8086:2922] (rev 02)
        \tControl: I/O+ Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR- FastB2B- DisINTx-
        \tInterrupt: pin B routed to IRQ 19
        \tKernel driver in use: ahci
        """,
        """
        [    1.000000] ata_piix 0000:00:1f.2: PCI INT C -> GSI 20 (level, low) -> IRQ 20
        """,
    )
    found = output.data(report)
    assert {one["what"] for one in found["conflicts"]} == {"00:1f.2: pin", "00:1f.2: driver", "00:1f.2: irq"}
    (pin,) = [one for one in found["conflicts"] if one["what"] == "00:1f.2: pin"]
    assert pin["values"] == [{"value": "B", "at": "text1:3"}, {"value": "C", "at": "text2:1"}]
    assert "pin" not in device(found, "00:1f.2")
    assert "contradictions:" in list(output.text(report))


def test_acpi_routing_says_gsi_and_irq() -> None:
    found = facts(
        """
        uhci_hcd 0000:00:1d.1: PCI INT B -> GSI 19 (level, low) -> IRQ 20
        ACPI: PCI Interrupt 0000:02:08.0[A] -> Link [LNKA] -> GSI 11 (level, low) -> IRQ 11
        ACPI: PCI interrupt 0000:02:09.0[A] -> GSI 21 (level, low) -> IRQ 169
        """
    )
    assert line(found, 20) == {"irq": 20, "gsi": 19, "trigger": "level", "given_up": 0}
    assert line(found, 169)["gsi"] == 21
    assert (device(found, "02:08.0")["irq"], device(found, "02:08.0")["pin"]) == (11, "A")
    assert device(found, "00:1d.1")["driver"] == "uhci_hcd"


def test_a_mismatch_of_flags_says_that_vfio_needs_the_line() -> None:
    found = facts(
        "[   88.1234] genirq: Flags mismatch irq 16. 00000000 (vfio-intx(0000:09:00.0)) vs. 00000080 (ehci_hcd:usb1)\n"
    )
    assert device(found, "09:00.0")["disintx_capable"] == "no"
    assert line(found, 16)["given_up"] == 0


def test_other_architectures_rows_are_read() -> None:
    found = facts(
        """
                   CPU0       CPU1
         11:      12345          0     GICv3  27 Level     arch_timer
         45:       1111          5     GICv3 123 Level     eth0, uart
         46:          0          0   ITS-MSI 524288 Edge      PCIe PME
        """
    )
    assert line(found, 45) == {
        "irq": 45,
        "hwirq": 123,
        "controller": "GICv3",
        "trigger": "level",
        "given_up": 0,
        "names": ["eth0", "uart"],
        "total": 1116,
    }
    assert found["not_level"] == [46]


def test_a_sentence_is_no_message() -> None:
    """Prose that quotes a message in a sentence is no message, and numbered lists are no tables."""
    found = facts(
        """
        The kernel said irq 16: nobody cared last week, and then Disabling IRQ #16 I think.
        1: buy a card
        2: 17 18 19
        Group 5: the rest
        At 12:01.5 Something: happened
        """
    )
    assert (found["line"], found["device"], found["not_level"]) == ([], [], [])


def test_numbers_above_24_and_0_are_said() -> None:
    report = imported(
        """
        00:02.0 VGA compatible controller [0300]: Intel [8086:0102] (rev 09)
        \tControl: I/O+ Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR- FastB2B- DisINTx-
        \tInterrupt: pin A routed to IRQ 47

        00:03.0 Ethernet controller [0200]: Intel [8086:0103] (rev 09)
        \tControl: I/O+ Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR- FastB2B- DisINTx-
        \tInterrupt: pin ? routed to IRQ 0
        """
    )
    notes = [note.text for note in report.notes]
    assert any("IRQ 47 is above 24" in note for note in notes)
    assert any("IRQ 0 means that the pin has no line" in note for note in notes)
    assert any("pin 0" in note for note in notes)
    assert (report.no_line, [line.irq for line in report.lines]) == ([0], [47])
