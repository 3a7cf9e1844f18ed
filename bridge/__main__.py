"""``python -m bridge``: the command ``hms-bridge``."""

from bridge.cli.main import main

main()
