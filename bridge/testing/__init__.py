"""What a plug-in's tests import: bind a transformer without a gateway."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bridge.api.grants import Grant, granted
from bridge.api.route_spec import RouteSpec
from bridge.api.transformer import Context, Operation, Transformer
from bridge.config.specfile import read_value
from bridge.errors import SpecError

__all__ = ["bound"]

_DEFAULTS = {"upstream": "service:80", "auth": {"type": "none"}}


async def bound(
    transformer: Transformer[Any],
    spec: Mapping[str, Any],
    *,
    home: Path = Path(),
    addresses: Sequence[tuple[str, int]] = (),
) -> Sequence[Operation]:
    """The operations that `transformer` binds for `spec`, which may leave out ``upstream`` and ``auth``.

    :param home: the folder of ``wsdl/`` and ``protos/``.
    :param addresses: what the mesh answers to every name.
    :raises SpecError: the spec or the transformer's options are wrong.
    :raises BindError: as `Transformer.bind`.
    """

    async def resolve(name: str, port: str) -> Sequence[tuple[str, int]]:
        return addresses

    route: RouteSpec = read_value({**_DEFAULTS, **spec})
    if route.transform.request != transformer.name:
        raise SpecError(f"the spec asks for {route.transform.request!r}, and this is {transformer.name!r}")
    options = transformer.options.model_validate(route.transform.options)
    await transformer.open(Context(home / "wsdl", home / "protos", resolve))
    with granted(Grant(operator=True)):
        return await transformer.bind(route, options)
