# SPDX-License-Identifier: MIT
"""The sequence of an older EPICS devlib2, whose drivers masked nothing: it reads, and never writes."""

from __future__ import annotations

import client
import devlib2


def connect(address: str) -> client.Connection:
    card, wait, _ = devlib2.connect(address)
    return card, wait, lambda: None


if __name__ == "__main__":
    client.run(connect)
