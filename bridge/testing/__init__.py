"""What a plug-in's tests import: bind a transformer without a gateway, or serve it in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bridge.api.grants import Grant, granted
from bridge.api.spec.route import RouteSpec
from bridge.api.transformer import (
    Context,
    Fetch,
    GrpcCall,
    Operation,
    Transformer,
    call_nothing,
    fetch_nothing,
)
from bridge.config.specfile import read_value
from bridge.errors import SpecError
from bridge.testing.serving import serving

__all__ = ["bound", "serving"]

_DEFAULTS = {"upstream": "service:80", "auth": {"type": "none"}}


async def bound(
    transformer: Transformer[Any],
    spec: Mapping[str, Any],
    *,
    home: Path = Path(),
    fetch: Fetch = fetch_nothing,
    call: GrpcCall = call_nothing,
) -> Sequence[Operation]:
    """The operations that `transformer` binds for `spec`, which may leave out ``upstream`` and ``auth``.

    :param home: the folder of ``wsdl/`` and ``protos/``.
    :param fetch, call: what `Context` lends; nothing can be fetched or called without them.
    :raises SpecError: the spec or the transformer's options are wrong.
    :raises BindError: as `Transformer.bind`.
    """
    route: RouteSpec = read_value({**_DEFAULTS, **spec})
    if route.transform.request != transformer.name:
        raise SpecError(f"the spec asks for {route.transform.request!r}, and this is {transformer.name!r}")
    options = transformer.options.model_validate(route.transform.options)
    await transformer.open(Context(home / "wsdl", home / "protos", fetch, call))
    with granted(Grant(operator=True)):
        return await transformer.bind(route, options)
