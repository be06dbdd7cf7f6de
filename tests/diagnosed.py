# SPDX-License-Identifier: MIT
"""The symptoms that the run of each hypothesis shows, in any reproduction; a word that depends on the sharers is None.

A guest test compares runs with these words, and host tests rank the reports by them.
"""

from __future__ import annotations

_DEAD: dict[str, str | None] = {
    "died": "yes", "again": "yes", "moment": "late", "lines": "one", "uncovered": "no", "late-handler": "no",
    "asserter": "nobody", "total": "some", "flood": "no", "refused": "no", "crowded": "no",
}  # fmt: skip
_ALIVE = _DEAD | {
    "died": "no", "again": "no", "moment": None, "uncovered": None, "total": None, "crowded": None,
}  # fmt: skip
_WITHOUT: dict[str, str | None] = {"uncovered": "yes"}
WORDS: dict[str, dict[str, str | None]] = {
    "misbehaving-bridge": _DEAD | {"lines": "several"},
    "stuck-pin": {**_DEAD},
    "wrong-routing": _DEAD | {"lines": "several", "moment": "start"},
    "orphan-asserts": _DEAD | _WITHOUT | {"asserter": "undriven"},
    "polls-with-interrupts-on": _DEAD | _WITHOUT | {"asserter": "idle-driver"},
    "msi-and-intx": _DEAD | _WITHOUT | {"asserter": "messages"},
    "claim-test-too-narrow": _DEAD | {"asserter": "handled"},
    "asserts-on-resume": _DEAD | {"moment": "resume"},
    "asserts-before-driver": _DEAD | {"again": "no", "moment": "start", "uncovered": "yes", "late-handler": "yes"},
    "disintx-noop": _ALIVE | {"refused": "vfio"},
    "exclusive-handler": _ALIVE | {"refused": "driver"},
    "too-many-sharers-no-fault": _ALIVE | {"crowded": "yes", "total": "some"},
    # The function wants to assert; only its pin does not.
    "never-raises": _ALIVE | {"total": "zero", "asserter": "handled"},
    "neighbour-storm": _ALIVE | {"flood": "yes", "total": "some"},
}
