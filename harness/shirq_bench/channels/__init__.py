# SPDX-License-Identifier: MIT
"""The channels of a guest and of QEMU: the agent, the console, ssh, QMP, the network, the event log."""
