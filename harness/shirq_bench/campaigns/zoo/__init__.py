# SPDX-License-Identifier: MIT
"""The zoo: bugs of shared interrupts that really happened. Each is a case that is played with several drivers.

`case` reads a case, `run` plays it with one driver under test, `outcome` judges line, neighbour and interrupts, `suite`
plays many cases and writes the matrix.
"""
