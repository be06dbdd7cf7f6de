# SPDX-License-Identifier: MIT
"""What goes in and out of a guest and of QEMU: the agent, the console, ssh, QMP, the network, the event log."""
