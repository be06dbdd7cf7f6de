# SPDX-License-Identifier: MIT
"""Templates of the projects that `shirq new` makes."""
