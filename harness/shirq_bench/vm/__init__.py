# SPDX-License-Identifier: MIT
"""Machines described, booted, frozen and cloned."""
