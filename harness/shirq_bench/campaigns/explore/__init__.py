# SPDX-License-Identifier: MIT
"""Interleavings of two actors on two processors: one is preempted by the other at every instruction of its window."""
