# SPDX-License-Identifier: MIT
"""The zoo: shared-interrupt bugs that really happened, each a case that runs against several drivers.

`case` reads a case, `run` plays it with one driver under test, `outcome` judges line, neighbour and interrupts, `suite`
runs many and writes the matrix.
"""
