# SPDX-License-Identifier: MIT
"""What happened: rules over the event log, kernel complaints, what a test sees of a guest."""
