# SPDX-License-Identifier: MIT
"""Mutants: small bugs, kept as patches apart from the product, and whether the tests notice them."""
