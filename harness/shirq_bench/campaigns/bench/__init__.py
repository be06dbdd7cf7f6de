# SPDX-License-Identifier: MIT
"""Measures the cost of an interrupt with each driver that Linux has for it, and the cost of a guest: `make bench`."""
