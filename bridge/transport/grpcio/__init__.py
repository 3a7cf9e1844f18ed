"""gRPC over gRPC's own library, grpc.aio: the general-purpose client, for where the house's own won't do
(``BRIDGE_UPSTREAM_CLIENTS=general``)."""

import os

# gRPC's core would write its own lines, with addresses in them, to standard error; it reads this when it is loaded.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
