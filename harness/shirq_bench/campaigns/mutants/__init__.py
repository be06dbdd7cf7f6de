# SPDX-License-Identifier: MIT
"""Mutants are small bugs, kept as patches; these modules try whether the tests notice them."""
