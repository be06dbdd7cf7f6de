# SPDX-License-Identifier: MIT
"""Describes, boots, freezes and clones virtual machines."""
