"""`make bench`: every benchmark of this folder, one after the other. Each prints ratios from one run."""

from __future__ import annotations

import contextlib
import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.argv = sys.argv[:1]
    for script in sorted(Path(__file__).parent.glob("[a-z]*_*.py")):
        print(f"== {script.stem}")
        with contextlib.suppress(SystemExit):  # each ends itself, as it does when it is run alone
            runpy.run_path(str(script), run_name="__main__")
