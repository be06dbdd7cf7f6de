# SPDX-License-Identifier: MIT
"""Sphinx's configuration for this documentation. `make docs` builds it and treats every warning as an error."""

from __future__ import annotations

import sys
from pathlib import Path

TOP = Path(__file__).parents[1]
# The binding need not be installed on the developer's machine; the extensions are part of this documentation.
sys.path[:0] = [str(TOP / "guest"), str(Path(__file__).parent / "ext")]

project = "shirq"
author = "The shirq authors"
project_copyright = "2026, The shirq authors"
language = "en"

extensions = ["myst_parser", "sphinx.ext.autodoc", "repository", "docstrings", "commands", "kernel_doc"]
exclude_patterns = ["ext"]
# Keep "--option" unchanged.
smartquotes = False
html_theme = "furo"
html_title = "shirq"
html_copy_source = False

myst_heading_anchors = 4
# The last scheme is for links to source code; see ext/repository.py.
myst_url_schemes = ["http", "https", "mailto", "repository"]
myst_enable_extensions = ["deflist"]

default_role = "name"
autodoc_default_options = {"undoc-members": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True

nitpicky = True
# Names of Python come from annotations, and many of them are private, unused or of other projects.
nitpick_ignore_regex = [("py:.*", ".*")]

man_pages = [
    ("reference/shirq", "shirq", "guests with devices on one shared interrupt line", [author], 1),
    ("reference/shirqctl", "shirqctl", "drive PCI functions on shared interrupt lines from user space", [author], 1),
]
man_show_urls = False
