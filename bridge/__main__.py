"""The command: ``hms-bridge``, and ``python -m bridge``. While its modules are loaded, which takes a moment, Ctrl-C
ends it without a traceback, and SIGHUP does not end ``serve``."""

import signal
import sys

signal.signal(signal.SIGINT, signal.SIG_DFL)
if sys.argv[1:2] == ["serve"]:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what it asks for is about to happen: files are read

from bridge.cli.main import main  # noqa: E402  # only now: it is what takes a moment

if __name__ == "__main__":
    main()
