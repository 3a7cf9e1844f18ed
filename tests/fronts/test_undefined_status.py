"""A status that gRPC does not define reaches every client with its number and its details."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived

from tests.fronts.conftest import SPEC
from tests.fronts.test_service_ends_at_deadline import ENVELOPE, last_problem
from tests.grpc_flow import PROTO

CODE = 42


def details() -> bytes:
    packed = any_pb2.Any()
    packed.Pack(error_details_pb2.ErrorInfo(reason="ENOUGH", domain="flow"))
    return bytes(status_pb2.Status(code=CODE, message="so be it", details=[packed]).SerializeToString())


class Refusing(asyncio.Protocol):
    """Answers every call with the status, and nothing else."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self.h2.initiate_connection()
        transport.write(self.h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            if isinstance(event, RequestReceived):
                fields = [(b":status", b"200"), (b"content-type", b"application/grpc")]
                fields += [(b"grpc-status", b"%d" % CODE), (b"grpc-message", b"so be it")]
                fields.append((b"grpc-status-details-bin", base64.b64encode(details()).rstrip(b"=")))
                self.h2.send_headers(event.stream_id or 0, fields, end_stream=True)
        self.transport.write(self.h2.data_to_send())


async def test_a_status_above_16_keeps_its_number_and_details_for_every_client(start: Any) -> None:
    server = await asyncio.get_running_loop().create_server(Refusing, "127.0.0.1", 0)
    mesh = {"flow-svc": f"127.0.0.1:{server.sockets[0].getsockname()[1]}"}
    unary, stream = "/flow/flow.Flow/Once", "/flow/flow.Flow/Count"
    files = {"protos/flow.proto": PROTO}
    async with start(mesh=mesh, routes={"flow.yml": SPEC % ("", "")}, files=files) as running:
        client = running.client
        plain = await client.post(unary, json={})
        streamed = await client.get("/flow/count/5", headers={"Accept": "text/event-stream"})
        for answer in (plain, streamed):
            grpc = last_problem(answer.text)["grpc"]
            assert (answer.status_code, grpc["code"], grpc["message"]) == (500, CODE, "so be it")
            assert grpc["details"][0]["reason"] == "ENOUGH"
        for path in (unary, stream):
            web = await client.post(path, content=ENVELOPE, headers={"content-type": "application/grpc-web+proto"})
            assert web.headers["grpc-status"] == str(CODE)
            assert web.headers["grpc-status-details-bin"]
        headers = {"connect-protocol-version": "1"}
        error = (await client.post(unary, json={}, headers=headers)).json()
        assert (error["code"], error["message"], error["details"][0]["debug"]["reason"]) == (
            "unknown", "so be it", "ENOUGH"
        )  # fmt: skip
    server.close()
    assert json.dumps(running.log()).count(f'"upstream_status": {CODE}') >= 4
