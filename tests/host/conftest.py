"""What the host's tests need to find: the binding, which is not installed on the host."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "guest"))
