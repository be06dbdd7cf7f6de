# SPDX-License-Identifier: MIT
"""Sweeps: stimuli at each instruction of a window, in guests that run identically each time."""
