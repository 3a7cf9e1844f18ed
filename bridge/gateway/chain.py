"""The chain of stages of every operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bridge.api.exchange import Exchange
from bridge.api.stage import BoundOperation, Handler, Stage
from bridge.config.settings import Settings
from bridge.egress.forwarded import Arrival
from bridge.egress.response import EditResponse, Personal
from bridge.gateway.translate import Translate
from bridge.stages.addresses import Addresses
from bridge.stages.auth.presented import Presented
from bridge.stages.auth.stage import Authenticate
from bridge.stages.cache.stage import Cached
from bridge.stages.compress import Compressed
from bridge.stages.cors import Cors
from bridge.stages.descriptions import Descriptions
from bridge.stages.lifecycle import Lifecycle
from bridge.stages.quota.stage import Quota
from bridge.stages.request import Deadline, Receive, Size
from bridge.stages.security_headers import SecurityHeaders


def stages(settings: Settings, timeouts: Mapping[str, Callable[[str], float]]) -> Sequence[Stage]:
    """The stages, in the order in which a call passes through them.

    :param timeouts: of the client protocols (`bridge.api.Front.timeouts`).
    """
    secure = settings.tls_cert is not None
    return (
        Cors(secure=secure),
        SecurityHeaders(everywhere=settings.security_headers == "on", secure=secure, proxies=settings.trusted_proxies),
        EditResponse(),
        Lifecycle(),
        Addresses(),
        Presented(secure=secure),
        Arrival(settings.trusted_proxies),
        Size(settings.max_body),
        Authenticate(),
        Quota(),
        Compressed(everywhere=settings.compress == "on"),
        Deadline(timeouts),
        Receive(settings.max_body, settings.body_timeout),
        Descriptions([server.url for server in settings.openapi_servers], settings.trusted_proxies),
        Cached(),
        Personal(),
        Translate(settings.max_body),
    )


class Chain:
    """Binds stages for operations.

    :param stages: in the order in which a call passes through them; the last one answers.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.stages = stages
        self._reversed = stages[::-1]

    def bind(self, operation: BoundOperation) -> Handler:
        """The handler of `operation`: those stages that it uses, as one function."""
        handler: Handler = _unanswered
        for stage in self._reversed:
            handler = stage.bind(operation, handler) or handler
        return handler


async def _unanswered(exchange: Exchange) -> None:
    raise RuntimeError("the last stage of the chain called the next one")
