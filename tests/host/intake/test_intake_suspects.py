# SPDX-License-Identifier: MIT
"""Who may assert a line that died without having a handler there, strongest first."""

from __future__ import annotations

from shirq_bench.intake import join, text

CONTROL = "\tControl: I/O+ Mem+ BusMaster- SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR- FastB2B- DisINTx-\n"
STATUS = "\tStatus: Cap- 66MHz- UDF- FastB2B+ ParErr- DEVSEL=medium >TAbort- <TAbort- <MAbort- >SERR- <PERR- INTx"


def function(address: str, driver: str = "", intx: str = "-", more: str = "", irq: int = 18) -> str:
    """A function in lspci's words."""
    bound = f"\tKernel driver in use: {driver}\n" if driver else ""
    route = f"\tInterrupt: pin A routed to IRQ {irq}\n"
    return (
        f"{address} Network controller [0280]: Maker Card [1234:5678]\n{CONTROL}{STATUS}{intx}\n{route}{more}{bound}\n"
    )


def death(*handlers: str, irq: int = 18, seconds: int = 100) -> str:
    lines = [f"irq {irq}: nobody cared (try booting with the irqpoll option)", "handlers:"]
    lines += [f"[<00000000aaaabbbb>] {one}" for one in handlers]
    lines.append(f"Disabling IRQ #{irq}")
    return "".join(f"[{seconds:5}.{n:06}] {line}\n" for n, line in enumerate(lines, 1))


def suspects(*contents: str) -> list[str]:
    report = join.report(text.clean([(f"file{n}", one) for n, one in enumerate(contents)]))
    return [one.who for one in report.suspects]


def test_a_function_that_asserts_is_before_one_that_is_quiet() -> None:
    functions = function("00:01.0") + function("00:02.0", intx="+") + function("00:03.0", driver="e1000")
    assert suspects(functions, death("e1000_intr [e1000]")) == ["00:02.0", "00:01.0"]


def test_a_function_with_a_handler_is_no_suspect() -> None:
    functions = function("00:01.0", driver="foo", intx="+") + function("00:02.0", driver="ehci-pci")
    assert suspects(functions, death("foo_interrupt [foo]", "usb_hcd_irq [usbcore]")) == []


def test_a_function_with_msi_is_no_suspect() -> None:
    message = "\tCapabilities: [50] MSI: Enable+ Count=1/1 Maskable- 64bit+\n"
    assert suspects(function("00:01.0", more=message), death("e1000_intr [e1000]")) == []


def test_a_function_with_msi_x_is_one_only_if_it_asserts() -> None:
    message = "\tCapabilities: [60] MSI-X: Enable+ Count=32 Masked-\n"
    functions = function("00:01.0", more=message) + function("00:02.0", more=message, intx="+")
    assert suspects(functions, death("e1000_intr [e1000]")) == ["00:02.0"]


def test_ports_of_one_driver_with_too_few_handlers_are_all_suspects() -> None:
    functions = function("00:01.0", driver="tulip") + function("00:02.0", driver="tulip")
    assert suspects(functions, death("tulip_interrupt [tulip]")) == ["00:01.0", "00:02.0"]
    assert suspects(functions, death(*["tulip_interrupt [tulip]"] * 2)) == []


def test_a_handler_that_nobody_is_known_for_may_be_anybodys() -> None:
    """Before Linux 3.5 handlers have no module: the unknown symbol may be the unknown driver's."""
    assert suspects(function("00:01.0", driver="foo"), death("bar_isr")) == []
    assert suspects(function("00:01.0", driver="foo"), death("bar_isr [bar]")) == ["00:01.0"]


def test_a_line_that_lives_has_no_suspects() -> None:
    assert suspects(function("00:01.0", intx="+"), death("e1000_intr [e1000]", irq=19)) == []


def test_a_handler_that_came_late_is_weaker() -> None:
    functions = function("00:01.0", driver="hpilo") + function("00:02.0", intx="+")
    found = suspects(
        functions, death("e1000_intr [e1000]") + death("e1000_intr [e1000]", "ilo_isr [hpilo]", seconds=200)
    )
    assert found == ["00:02.0", "00:01.0"]


def test_a_state_that_was_seen_once_counts() -> None:
    """Two listings of one function: INTx+ in the one, INTx- in the other."""
    assert suspects(function("00:01.0"), function("00:01.0", intx="+"), death("e1000_intr [e1000]")) == ["00:01.0"]
