# SPDX-License-Identifier: MIT
"""Replays a run exactly, and stops it at a chosen point."""
