# SPDX-License-Identifier: MIT
"""Campaigns, each of which uses many guests: sweeps, the zoo, torture, mutants, measurements, fuzzing."""
