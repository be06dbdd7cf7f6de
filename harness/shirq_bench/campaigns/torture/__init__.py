# SPDX-License-Identifier: MIT
"""Repeatedly ends owners, bindings, modules and guests, and counts the failures: docs/reliability.md."""
