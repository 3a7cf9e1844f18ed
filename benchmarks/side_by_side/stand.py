"""What every run stands on: the services behind the gateways, the token that all of them verify, and a folder."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from jwt.algorithms import ECAlgorithm

from benchmarks.side_by_side.machine import Cores
from benchmarks.side_by_side.peers import grpc_gateway
from benchmarks.side_by_side.peers.ours import CONTRACTS, SERVE
from benchmarks.side_by_side.peers.peer import Absent, Guards, Peer, Setup
from benchmarks.side_by_side.process import Process, free_port, start
from bridge_grpc.schema.compile_protos import compile_protos

ROOT = Path(__file__).parent.parent.parent
ISSUER, AUDIENCE = "urn:bridge:local", "BENCH"


@dataclass
class Stand:
    """Made by `open_stand`.

    :ivar grpc_service: what the gRPC service is made of, in words.
    """

    folder: Path
    cache: Path
    cores: Cores
    guards: Guards
    descriptors: Path
    http: Process
    grpc: Process
    grpc_service: str
    _started: int = field(default=0)

    def setup(self, guarded: bool) -> Setup:
        """For one more start of a gateway, in a folder that is new."""
        self._started += 1
        folder = self.folder / f"gateway-{self._started}"
        folder.mkdir()
        return Setup(
            folder=folder,
            cache=self.cache,
            core=self.cores.gateway,
            port=free_port(),
            http=self.http.port,
            grpc=self.grpc.port,
            descriptors=self.descriptors,
            guards=self.guards if guarded else None,
        )

    @contextlib.contextmanager
    def gateway(self, peer: Peer, *, guarded: bool) -> Iterator[Process]:
        """`peer`, while the context is open."""
        process = peer.start(self.setup(guarded))
        try:
            yield process
        finally:
            process.stop()


@contextlib.contextmanager
def open_stand(cache: Path, *, build: bool = True) -> Iterator[Stand]:
    """The services run on the core of the load.

    :param build: whether the gRPC service is built of Go; where it is not, one that was built before is taken.

    :raises RuntimeError: one of them doesn't.
    """
    cores = Cores.choose()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        descriptors = folder / "orders.pb"
        descriptors.write_bytes(compile_protos(["orders.proto"], CONTRACTS).SerializeToString())
        module = [sys.executable, "-m"]
        grpc_port, http_port = free_port(), free_port()
        try:
            built = (grpc_gateway.build(cache) if build else cache / grpc_gateway.SOURCE.name) / "bin" / "orders"
            if not built.exists():
                raise Absent("it was not built")
            command, made_of = [str(built), str(grpc_port)], "grpc-go"
        except Absent:
            command = [*module, "benchmarks.side_by_side.services.grpc", str(grpc_port), str(descriptors)]
            made_of = "grpc.aio"
        environment = {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "transformers"))), "GOMAXPROCS": "1"}
        services = []
        for name, port, words in (
            ("grpc", grpc_port, command),
            ("http", http_port, [*module, "benchmarks.side_by_side.services.http", str(http_port)]),
        ):
            place = folder / f"service-{name}"
            place.mkdir()
            service = start(words, cores.others, place, env=environment, port=port)
            stack.callback(service.stop)
            service.wait_for_port()
            services.append(service)
        yield Stand(
            folder=folder,
            cache=cache,
            cores=cores,
            guards=_guards(folder),
            descriptors=descriptors,
            grpc=services[0],
            http=services[1],
            grpc_service=made_of,
        )


def _guards(folder: Path) -> Guards:
    """A token of the house's own local issuer, by its command line, and the key of that issuer."""
    home = folder / "issuer"
    home.mkdir()
    command = [*SERVE, "token", "--audience", AUDIENCE, "--ttl", "1d"]
    done = subprocess.run(
        command, env={**os.environ, "BRIDGE_HOME": str(home)}, stdout=subprocess.PIPE, text=True, check=True
    )
    private = load_pem_private_key((home / ".bridge" / "local-issuer.pem").read_bytes(), password=None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    public = private.public_key()
    pem = home / ".bridge" / "public.pem"
    pem.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    key = {**ECAlgorithm.to_jwk(public, as_dict=True), "alg": "ES256", "use": "sig"}
    return Guards(done.stdout.strip(), pem, json.dumps({"keys": [key]}), ISSUER, AUDIENCE)
