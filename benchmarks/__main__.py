"""`make bench`: the gateway beside its peers, then every benchmark of this folder. Each prints ratios from one run."""

from __future__ import annotations

import contextlib
import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    arguments, sys.argv = sys.argv[1:], sys.argv[:1]
    from benchmarks.side_by_side.__main__ import main

    print("== side_by_side", flush=True)
    failed = main(arguments)
    for script in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        print(f"== {script.stem}", flush=True)
        with contextlib.suppress(SystemExit):  # each ends itself, as it does when it is run alone
            runpy.run_path(str(script), run_name="__main__")
    raise SystemExit(failed)
