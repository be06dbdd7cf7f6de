# SPDX-License-Identifier: MIT
"""Ends owners, bindings, modules and guests again and again, and counts what went wrong: docs/reliability.md."""
