# SPDX-License-Identifier: MIT
"""Assemble a set of programs for ``peer-shirq --programs``.

Reads a JSON object with the texts ``irq``, ``unmask`` and ``release``, and optionally ``mode`` ("masks", the default,
or "acknowledges"), from standard input. Writes the mode and the three lengths, as four 32-bit words, and then the
operations to standard output.
"""

import json
import struct
import sys

from shirq.abi import Mode
from shirq.asm import assemble
from shirq.errors import AssemblyError
from shirq.program import to_array

texts = json.load(sys.stdin)
mode = Mode[texts.get("mode", "masks").upper()]
try:
    programs = [assemble(texts[name]) for name in ("irq", "unmask", "release")]
except AssemblyError as error:
    sys.exit(str(error))
sys.stdout.buffer.write(struct.pack("<4I", mode, *map(len, programs)))
for program in programs:
    sys.stdout.buffer.write(bytes(to_array(program)))
