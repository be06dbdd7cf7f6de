# SPDX-License-Identifier: MIT
"""Reads bug reports: texts of kernel logs, interrupt tables and lspci, as mails and forums have damaged them.

`text` undoes the damage and keeps the place of every line. One module for each kind of text finds facts in the lines:
`messages`, `table`, `lspci`, `hexdump`, `sysfs`. `join` makes one `report.Report` of them, `suspects` and `missing` add
what follows from it, `output` prints it, and `rebuild` describes a guest with the same line.

The importer invents nothing: a fact that is not in the text is absent.
"""
