# SPDX-License-Identifier: MIT
"""`python -m shirq_bench.cli` is `shirq`."""

from shirq_bench.cli.main import main

main(prog_name="shirq")
