"""What a field may be in HTTP/2 (RFC 9113, section 8.2)."""

from __future__ import annotations

import re

from bridge.http.token import LOWER_TOKEN

#: Section 8.2.1: names are tokens without upper case.
FIELD_NAME = re.compile(LOWER_TOKEN.encode())
#: Section 8.2.2: they describe a connection of HTTP/1.1.
CONNECTION_FIELDS = frozenset((b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"))
