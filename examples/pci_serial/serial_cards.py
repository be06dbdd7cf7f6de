# SPDX-License-Identifier: MIT
"""The guests' machine: two of QEMU's serial cards on one line, both driven by the module in driver/."""

from __future__ import annotations

from pathlib import Path

from shirq_bench.vm.machine import Machine, insmod

HERE = Path(__file__).parent
#: Both slots have the same line: see `shirq_bench.vm.machine.gsi_of`.
ADDRESSES = {"uart0": "0000:00:04.0", "uart1": "0000:00:08.0"}

MACHINE = Machine(
    devices=(
        "pci-serial,id=uart0,addr=4,chardev=wire0",
        "pci-serial,id=uart1,addr=8,chardev=wire1",
        # Relates the guest's clock to the log's, for `Scene.tracing`.
        "shirq-edu,id=clock,addr=5",
    ),
    wires=("wire0", "wire1"),
    modules=(str(HERE / "driver"),),
    overlay=(str(HERE / "rootfs"),),
    prepare=(insmod("uartline"), f"bind-uart {' '.join(ADDRESSES.values())}"),
)
