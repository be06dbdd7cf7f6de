# SPDX-License-Identifier: MIT
"""Diagnoses a bug report: plays hypotheses in guests with the report's sharers, and compares what they show.

`hypothesis` reads the data, `reproduction` makes a guest and a case of a report and a hypothesis, `run` plays it,
`rank` compares and finds the experiment that tells hypotheses apart, `output` prints and writes the result.
"""
