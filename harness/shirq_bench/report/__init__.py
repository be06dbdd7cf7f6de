# SPDX-License-Identifier: MIT
"""Pictures of a run: one model of tracks over time, as text, as a web page and as a waveform."""
