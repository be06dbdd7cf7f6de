# SPDX-License-Identifier: MIT
"""Assemble a set of programs for ``peer-shirq --programs``.

Reads a JSON object with the texts ``irq``, ``unmask`` and ``release`` from standard input; writes their lengths, three
32-bit words, and their operations to standard output.
"""

import json
import struct
import sys

from shirq.asm import assemble
from shirq.errors import AssemblyError
from shirq.program import to_array

try:
    programs = [assemble(text) for text in json.load(sys.stdin).values()]
except AssemblyError as error:
    sys.exit(str(error))
sys.stdout.buffer.write(struct.pack("<3I", *map(len, programs)))
for program in programs:
    sys.stdout.buffer.write(bytes(to_array(program)))
