# SPDX-License-Identifier: MIT
"""The asyncio binding with the module: when a read unmasks, and how an iteration over events ends."""

from __future__ import annotations

from guest.guest_python import finish, start
from guest.scripts import aio
from shirq_bench.observe.scene import Scene


def test_the_next_read_unmasks_and_waiting_for_an_event_does_not(scene: Scene) -> None:
    script = start(scene, "dev1", aio.serve)
    script.expect("^armed$", 60)
    scene.wait_unmasked("dev1")
    scene.raise_("dev1", bits=1)
    script.expect("^event 0x1$")
    # The script's event loop runs, but the script has not requested the next event, so the device stays masked.
    assert scene.vm.qmp.get("dev1", "mask") == 0xFFFFFFFF
    script.write("\n")
    script.expect("^waiting$")
    assert scene.vm.qmp.get("dev1", "mask") == 0, (
        "a read of the next event must unmask at once, although no event is queued"
    )
    scene.raise_("dev1", bits=2)
    script.expect("^event 0x2 1$")
    script.expect("^cancelled ")
    scene.raise_("dev1", bits=4)
    script.expect("^event 0x4$")
    assert finish(script)[-1] == "ended"
