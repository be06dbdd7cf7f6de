# SPDX-License-Identifier: MIT
"""Events in asyncio, with the module: when events are unmasked, and how an iteration ends."""

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
    # The loop keeps running, and the next event has not been requested.
    assert scene.vm.qmp.get("dev1", "mask") == 0xFFFFFFFF
    script.write("\n")
    script.expect("^waiting$")
    assert scene.vm.qmp.get("dev1", "mask") == 0, (
        "asking for the next event must unmask at once, although none is queued"
    )
    scene.raise_("dev1", bits=2)
    script.expect("^event 0x2 1$")
    script.expect("^cancelled ")
    scene.raise_("dev1", bits=4)
    script.expect("^event 0x4$")
    assert finish(script)[-1] == "ended"
