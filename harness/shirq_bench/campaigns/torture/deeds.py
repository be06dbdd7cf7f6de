# SPDX-License-Identifier: MIT
"""Stress actions, run in the guest or from the host."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from shirq_bench.campaigns.torture.guests import DEADLINE, Tormented, address
from shirq_bench.deadline import Deadline
from shirq_bench.errors import DeadlineExceeded
from shirq_bench.vm.vm import Vm


def by_guest(guest: Tormented) -> None:
    """Run only shirq-torture."""
    guest.finish(guest.vm.agent.start("shirq-torture", *_options(guest)))


def _options(guest: Tormented) -> list[str]:
    case = guest.case
    span = int(case.span_us * guest.vm.patience)
    numbers = ["--seed", str(guest.seed), "--count", str(guest.count), "--span", str(span)]
    return ["--clock", address("clock"), *numbers, *case.words, *map(address, case.devices)]


#: Guest script: a tenth of the allocations fail in processes that opt in.
_FAIL_ALLOCATIONS = """
mount -t debugfs debugfs /sys/kernel/debug
for fault in failslab fail_page_alloc; do
    cd /sys/kernel/debug/$fault && echo 0 >verbose && echo N >ignore-gfp-wait && echo Y >task-filter &&
    echo -1 >times && echo 10 >probability || exit 1
done
echo 0 >/sys/kernel/debug/fail_page_alloc/min-order
"""


def by_failing(guest: Tormented) -> None:
    """Run shirq-torture, with occasional allocation failures in its owners."""
    guest.vm.agent.succeed(_FAIL_ALLOCATIONS)
    by_guest(guest)
    if guest.round.attempts and not 0 < guest.round.figures["exited"] < guest.round.attempts:
        guest.tell(
            f"allocations failed in {guest.round.figures['exited']} of {guest.round.attempts} owners; they must fail in"
            " some of them, but not in all"
        )


def by_fuzz(guest: Tormented) -> None:
    """Run shirq-fuzz, guided by KCOV if the kernel has it."""
    guest.vm.agent.run("mount", "-t", "debugfs", "debugfs", "/sys/kernel/debug")
    case = guest.case
    numbers = ["--seed", str(guest.seed), "--count", str(guest.count)]
    options = ["--clock", address("clock"), *numbers, *case.words, address(case.devices[0])]
    guest.finish(guest.vm.agent.start("shirq-fuzz", *options))


def by_unplugging(guest: Tormented) -> None:
    """Unplug the device that shirq-torture arms, each time while the device asserts."""
    vm = guest.vm
    command = vm.agent.start("shirq-torture", *_options(guest))
    for attempt in range(guest.count):
        guest.follow(command, f"armed {attempt}")
        _until(guest, "dev2 is unplugged while it asserts", lambda: _unplug_asserting(vm))
        vm.qmp.wait_event("DEVICE_DELETED", deadline=DEADLINE)
        guest.follow(command, f"gone {attempt}")
        if attempt + 1 < guest.count:
            vm.qmp.execute("device_add", driver="shirq-edu", id="dev2", bus="rp0", addr="0")
            vm.qmp.set("dev2", "storm-ns", guest.rate("dev2"))
    guest.finish(command)


def _unplug_asserting(vm: Vm) -> bool:
    """Raise a source of dev2. If dev2 then asserts, which it cannot while it is masked, unplug it and return true."""
    with vm.frozen():
        vm.qmp.set("dev2", "raise", 1 << 5)
        asserts = bool(vm.qmp.get("dev2", "pin"))
        if asserts:
            vm.qmp.execute("device_del", id="dev2")
    return asserts


def by_sleep(guest: Tormented) -> None:
    """Suspend the system, and wake it up by a key press."""
    choices = random.Random(guest.seed)
    vm = guest.vm
    vm.agent.succeed(
        "for f in /sys/devices/platform/i8042/serio*/power/wakeup; do echo enabled >$f; done"
        " && echo 1 >/sys/power/pm_debug_messages && echo N >/sys/module/printk/parameters/console_suspend"
        " && echo 8 >/proc/sys/kernel/printk"
    )
    for attempt in range(guest.count):
        asleep, awake = choices.randrange(guest.case.span_us), choices.randrange(guest.case.span_us)
        sleeper = vm.agent.start("sh", "-c", "echo freeze >/sys/power/state")
        _until(guest, "the guest sleeps", lambda n=attempt: _slept(guest) > n)  # type: ignore[misc]
        time.sleep(asleep / 1e6)
        # Release the key at once: a release while the system suspends again would be an interrupt that is never seen.
        vm.qmp.execute("send-key", keys=[{"type": "qcode", "data": "a"}], **{"hold-time": 1})
        if status := sleeper.wait(DEADLINE).status:
            guest.tell(f"attempt {attempt}: suspending the system failed with status {status}")
        for device in ("dev0", "dev1"):
            _until(guest, f"the owner of {device} came back", lambda d=device: not vm.qmp.get(d, "mask"))  # type: ignore[misc]
        time.sleep(awake / 1e6)
        guest.round.attempts += 1
    guest.round.choices = f"{choices.getrandbits(64):016x}"


def _slept(guest: Tormented) -> int:
    # On resume the kernel prints "PM: resume from suspend-to-idle", which does not match.
    return guest.vm.console.log.read_text(errors="replace").count("PM: suspend-to-idle")


def _until(guest: Tormented, what: str, done: Callable[[], bool]) -> None:
    end = Deadline(DEADLINE * guest.vm.patience)
    while not done():
        if end.passed:
            raise DeadlineExceeded(f"{guest.vm.name}: not reached within {end}: {what}\n{guest.vm.situation()}")
        time.sleep(0.02)


#: Device faults that leave DisINTx working, so that it can silence the device: a property and its values.
_GARBAGE: tuple[tuple[str, tuple[str | int, ...]], ...] = (
    ("dead", ("off", "off", "bars")),
    ("intx-status", ("auto", "zero", "one")),
    ("posted", ("off", "until-read", "delayed")),
    ("deassert-delay-ns", (0, 0, 50_000, 400_000)),
    ("status-lag-ns", (0, 0, 50_000, 400_000)),
    ("reassert", (0, 0, 0xFFFF)),
    ("storm-sources", (1, 0xF0, 0xFFFFFFFF)),
    ("storm-ns", (20_000, 300_000, 1_000_000)),
    ("lower", (1, 0xFFFFFFFF)),
    ("raise", (1, 0xFFFFFFFF)),
)


def by_garbage(guest: Tormented) -> None:
    """Switch faults of the device on and off, one after another, while owners open the device and are killed."""
    choices = random.Random(guest.seed)
    command = guest.vm.agent.start("shirq-torture", *_options(guest))
    broken, said, end = 0, -1, Deadline(DEADLINE * guest.vm.patience)
    while command.running:
        if len(command.stdout) != said:
            said, end = len(command.stdout), Deadline(DEADLINE * guest.vm.patience)
        if end.passed:
            break
        name, values = choices.choice(_GARBAGE)
        value = choices.choice(values)
        guest.vm.qmp.set("dev0", name, value * int(guest.vm.patience) if name.endswith("-ns") else value)
        broken += 1
        time.sleep(choices.uniform(0, 0.02))
    for name, values in _GARBAGE[:7]:
        guest.vm.qmp.set("dev0", name, values[0])
    guest.finish(command)
    guest.round.figures["faults"] = broken
    if not broken:
        guest.tell("no fault was switched on: inconclusive")


BY = {
    "guest": by_guest,
    "failing": by_failing,
    "fuzz": by_fuzz,
    "unplug": by_unplugging,
    "sleep": by_sleep,
    "garbage": by_garbage,
}
