# SPDX-License-Identifier: MIT
"""Many guests for one question: sweeps, the zoo, torture, mutants, measurements, fuzzing."""
