# SPDX-License-Identifier: MIT
"""Every moment: stimuli at each instruction of a window, in guests that run identically each time."""
