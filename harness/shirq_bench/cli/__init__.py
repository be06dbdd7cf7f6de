# SPDX-License-Identifier: MIT
"""The command line `shirq`, one module a family of commands."""
