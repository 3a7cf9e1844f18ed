"""The switch that turns every fast path off, so that tests can run the plain paths alone.

A fast path handles the usual case of what a plain path handles in full, with the same result. It checks `FAST_PATHS`
when it is built, so the switch costs nothing per request. It is for tests: ``make test-plain``.
"""

from __future__ import annotations

import os

FAST_PATHS = os.environ.get("HMS_BRIDGE_FAST_PATHS", "on") != "off"
