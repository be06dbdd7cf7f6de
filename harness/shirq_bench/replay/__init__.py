# SPDX-License-Identifier: MIT
"""A run that plays again to the byte, stopped where one wants to look."""
