# SPDX-License-Identifier: MIT
"""Kernel messages: deaths that are cut, quoted or repeated, handlers in every kernel's format, functions, boots."""

from __future__ import annotations

import pytest

from shirq_bench.intake import join, messages, text
from shirq_bench.intake.facts import Facts
from shirq_bench.intake.report import Device, Report

HEAD = 'irq 18: nobody cared (try booting with the "irqpoll" option)\n'
TAIL = "Disabling IRQ #18\n"
HANDLERS = "handlers:\n[<00000000aaaabbbb>] e100_intr [e100]\n"


def facts(contents: str) -> Facts:
    found = Facts()
    messages.find(text.clean([("log", contents)]).lines, found)
    return found


def imported(*contents: str) -> Report:
    return join.report(text.clean([(f"file{n}", one) for n, one in enumerate(contents)]))


def deaths(*contents: str) -> dict[int, int]:
    return {line.irq: line.get("given_up") for line in imported(*contents).lines}


def at(seconds: float, *messages: str) -> str:
    """Messages with times since boot."""
    return "".join(f"[{seconds + n / 1000:12.6f}] {line}\n" for n, line in enumerate("".join(messages).splitlines()))


def device(report: Report, address: str) -> Device:
    return next(one for one in report.devices if one.address == address)


# ------------------------------------------------------------------ deaths


@pytest.mark.parametrize(
    "contents",
    [
        HEAD + HANDLERS + TAIL,
        HEAD,
        TAIL,
        HANDLERS + TAIL,
        "irq 18: nobody cared!\n" + TAIL,
        "irq 18: nobody\ncared (try booting with the irqpoll option)\n" + TAIL,
        HEAD + "Disabling IRQ\n#18\n",
        "> " + HEAD + "> [...]\n> " + TAIL,
        HEAD + "\n" + HANDLERS + "\n" + TAIL,
    ],
)
def test_a_message_without_head_or_tail_counts(contents: str) -> None:
    assert deaths(contents) == {18: 1}


@pytest.mark.parametrize(
    "contents",
    [
        "I saw irq 18: nobody cared in the log.\n",
        "Subject: irq 18: nobody cared\n",
        "It says Disabling IRQ #18 there.\n",
        "irq 18 nobody cared\n",
        "Disabling IRQ\n",
        "Disabling IRQ #1\n8\n",
    ],
)
def test_a_sentence_about_a_message_does_not_count(contents: str) -> None:
    assert deaths(contents) == {}


def test_a_quoted_copy_counts_once() -> None:
    message = at(100, HEAD, HANDLERS, TAIL)
    quoted = "".join(f"> {line}\n" for line in message.splitlines())
    assert deaths(message + "\nMe too.\n\n" + quoted) == {18: 1}
    assert deaths(message, quoted) == {18: 1}


def test_a_copy_with_another_clock_counts_once() -> None:
    trace = "CPU: 0 PID: 0 Comm: swapper/0 Not tainted 6.1.0-18-amd64 #1\n note_interrupt+0x1/0x2\n"
    journal = "".join(f"Mar 12 09:43:10 pc kernel: {line}\n" for line in (HEAD + trace + HANDLERS + TAIL).splitlines())
    assert deaths(journal, at(5000, HEAD, trace, HANDLERS, TAIL)) == {18: 1}


def test_deaths_at_other_times_count_each() -> None:
    assert deaths(at(100, HEAD, HANDLERS, TAIL) + at(200, HEAD, HANDLERS, TAIL)) == {18: 2}


def test_deaths_of_other_lines_are_kept_apart() -> None:
    other = HEAD.replace("18", "19") + TAIL.replace("18", "19")
    assert deaths(at(100, HEAD) + at(101, other)) == {18: 1, 19: 1}


def test_the_handlers_are_those_of_the_last_death() -> None:
    later = HANDLERS + "[<00000000ccccdddd>] ilo_isr [hpilo]\n"
    (line,) = imported(at(100, HEAD, HANDLERS, TAIL) + at(200, HEAD, later, TAIL)).lines
    assert line.get("handlers") == ["e100_intr", "ilo_isr"]


@pytest.mark.parametrize(
    ("listed", "symbol", "module"),
    [
        ("[<00000000aaaabbbb>] e100_intr [e100]", "e100_intr", "e100"),
        ("[<00000000aaaabbbb>] usb_hcd_irq", "usb_hcd_irq", None),
        ("[<ffffffffa02b0155>] e1000_intr", "e1000_intr", None),
        ("[<c0842414>] (ata_interrupt+0x0/0x173)", "ata_interrupt", None),
        ("[<f8a5c0e4>] (tg3_interrupt+0x0/0x1e0 [tg3])", "tg3_interrupt", "tg3"),
        ("[tulip_interrupt+0/2185] (tulip_interrupt+0x0/0x889)", "tulip_interrupt", None),
        ("[<c0000000001f2d30>] .usb_hcd_irq", "usb_hcd_irq", None),
        ("[<00000000aaaabbbb>] ata_bmdma_interrupt.part.0 [libata]", "ata_bmdma_interrupt.part.0", "libata"),
        (
            "[<0000aaaa>] irq_default_primary_handler threaded [<0000bbbb>] a_thread [a]",
            "irq_default_primary_handler",
            "a",
        ),
    ],
)
def test_a_handler_of_any_kernel_is_read(listed: str, symbol: str, module: str | None) -> None:
    (death,) = facts(f"{HEAD}handlers:\n{listed}\n{TAIL}").deaths
    (handler,) = death.handlers
    assert (handler.symbol, handler.module) == (symbol, module)


@pytest.mark.parametrize(
    "said", ["Feb 28 10:40:37 pc last message repeated 2 times", "message repeated 2 times: [ {0}]"]
)
def test_repeated_handlers_are_repeated(said: str) -> None:
    one = "[<00000000aaaabbbb>] tulip_interrupt"
    (death,) = facts(f"{HEAD}handlers:\n{one}\n{said.format(one)}\n{TAIL}").deaths
    assert [handler.symbol for handler in death.handlers] == ["tulip_interrupt"] * 3


@pytest.mark.parametrize(
    ("said", "kernel"),
    [
        ("CPU: 2 PID: 0 Comm: swapper/2 Not tainted 6.1.0-18-amd64 #1  Debian 6.1.76-1", "6.1.0-18-amd64"),
        ("CPU: 0 UID: 0 PID: 0 Comm: swapper/0 Tainted: G        W  OE      6.12.1-arch1-1 #1", "6.12.1-arch1-1"),
        ("Pid: 0, comm: swapper/0 Tainted: P         C O 3.2.0-39-generic #62-Ubuntu", "3.2.0-39-generic"),
        ("Pid: 0, comm: swapper Not tainted (2.6.32-5-686 #1)", "2.6.32-5-686"),
        ("CPU: 1 PID: 8 Comm: kworker/u145:0 Not tainted\n5.14.13_site_1 #4", "5.14.13_site_1"),
    ],
)
def test_the_kernel_of_a_message_is_read(said: str, kernel: str) -> None:
    (death,) = facts(HEAD + said + "\n" + TAIL).deaths
    assert death.kernel == kernel


# ------------------------------------------------------------------ boots


def test_a_table_after_another_boot_is_of_another_boot() -> None:
    row = " 18:     300000   IO-APIC  18-fasteoi   eth0\n"
    (line,) = imported(at(9000, HEAD, TAIL) + at(0, "Linux version 6.1.0 (x)\n") + "\n" + row).lines
    assert line.get("snapshot") == "other-boot"
    (line,) = imported(at(0, "Linux version 6.1.0 (x)\n") + at(9000, HEAD, TAIL) + "\n" + row).lines
    assert line.get("snapshot") is None


def test_a_count_below_100000_is_of_another_boot() -> None:
    (line,) = imported(at(9000, HEAD, TAIL), " 18:      99000   IO-APIC  18-fasteoi   eth0\n").lines
    assert (line.get("snapshot"), line.get("total")) == ("other-boot", 99000)


def test_the_table_of_the_boot_of_the_death_is_chosen() -> None:
    first, second = (f" 18:     {count}   IO-APIC  18-fasteoi   {name}\n" for count, name in ((100001, "a"), (12, "b")))
    (line,) = imported(at(9000, HEAD, TAIL), first + "\ntext\n" * 8 + second).lines
    assert (line.get("names"), line.get("given_up_at_most"), line.get("snapshot")) == (["a"], 1, None)


# ------------------------------------------------------------------ functions


def test_a_function_has_what_its_messages_say() -> None:
    found = imported(
        "pci 0000:03:00.0: [10ec:8139] type 00 class 0x020000 conventional PCI endpoint\n"
        "pci 0000:03:00.0: reg 0x10: [io  0xe000-0xe0ff]\n"
        "pci 0000:03:00.0: BAR 1 [mem 0xfe301000-0xfe3010ff 64bit pref]\n"
        "pci 0000:00:1e.0: PCI bridge to [bus 03-04] (subtractive decode)\n"
        "pci 0000:03:00.0: Adding to iommu group 7\n"
        "8139too 0000:03:00.0 eth1: RealTek RTL8139 at 0x0000000058c1b2e4, xx:xx:xx:xx:xx:xx, IRQ 18\n"
    )
    card = device(found, "03:00.0")
    assert {key: card.get(key) for key in ("vendor", "device", "class", "driver", "irq", "behind", "iommu_group")} == {
        "vendor": "10ec", "device": "8139", "class": "0200", "driver": "8139too", "irq": 18, "behind": "00:1e.0",
        "iommu_group": 7,
    }  # fmt: skip
    assert card.get("bars") == [
        {"index": 0, "kind": "io", "size": "256"},
        {"index": 1, "kind": "mem", "bits": 64, "size": "256", "prefetch": True},
    ]
    assert card.known_by == "ids"


def test_a_function_with_msi_is_not_on_its_pins_line() -> None:
    found = imported(
        "ahci 0000:00:1f.2: PCI INT B -> GSI 19 (level, low) -> IRQ 19\nahci 0000:00:1f.2: irq 40 for MSI/MSI-X\n"
    )
    assert not device(found, "00:1f.2").uses_pin
    assert found.on_line(19) == []


def test_a_pin_without_a_line_is_noted() -> None:
    found = imported("shpchp 0000:00:03.0: can't derive routing for PCI INT A\n")
    assert "the kernel found no line for the pin" in found.notes[0].text


def test_old_drivers_messages_are_of_the_function_before_them() -> None:
    found = imported(
        "Intel(R) PRO/100 Network Driver\n"
        "ACPI: PCI interrupt 0000:02:08.0[A] -> GSI 20 (level, low) -> IRQ 185\n"
        "e100: eth0: e100_probe: addr 0xfc9fb000, irq 185, MAC addr xx:xx:xx:xx:xx:xx\n"
        "           CPU0\n185:       4711   IO-APIC-level  eth0\n"
    )
    (card,) = found.devices
    assert (card.address, card.get("driver"), card.get("irq"), card.get("pin")) == ("02:08.0", "e100", 185, "A")
