"""Ends with 0 if the gateway in this container answers. HEALTHCHECK_URL says where, if not on port 8080 over HTTP."""

from __future__ import annotations

import os
import ssl
import sys
from urllib import request

URL = "http://127.0.0.1:8080/-/health/ready"
TIMEOUT = 4.0  # seconds


def main() -> int:
    # The certificate names the gateway's public host, not the loopback.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    opener = request.build_opener(request.ProxyHandler({}), request.HTTPSHandler(context=context))
    try:
        with opener.open(os.environ.get("HEALTHCHECK_URL", URL), timeout=TIMEOUT):
            return 0
    except (OSError, ValueError) as error:
        sys.stderr.write(f"the gateway is not ready: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
