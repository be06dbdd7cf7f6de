# SPDX-License-Identifier: MIT
"""What an interrupt costs, with each driver that Linux has for it, and what a guest costs: `make bench`."""
