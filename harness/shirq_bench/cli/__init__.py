# SPDX-License-Identifier: MIT
"""The command line `shirq`, with one module for each family of commands."""
