# SPDX-License-Identifier: MIT
"""Observation: rules over the event log, kernel complaints, and a test's view of a guest."""
