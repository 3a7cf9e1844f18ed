"""A new connection to a service, over TCP or TLS."""

from __future__ import annotations

import asyncio
import ssl

from bridge.api.transport import Address
from bridge.transport.connecting import authority, shortage
from bridge.transport.http1.exchange import ConnectFailed

CLOSE_TIMEOUT = 2.0  #: seconds for a service to answer a TLS closure alert

#: An instance, the trusted authorities (None: plain TCP), and the name in the certificate.
Key = tuple[Address, ssl.SSLContext | None, str | None]


async def dial(protocol: asyncio.Protocol, key: Key, timeout: float) -> None:  # noqa: ASYNC109  # it ends in an error
    """Connect `protocol`.

    :param timeout: seconds, for TCP and TLS together.
    :raises ConnectFailed: it can't be connected.
    :raises Overloaded: the gateway is out of sockets.
    """
    address, trust, server_name = key
    try:
        async with asyncio.timeout(timeout):
            await asyncio.get_running_loop().create_connection(
                lambda: protocol,
                *address,
                ssl=trust,
                server_hostname=server_name,
                ssl_shutdown_timeout=CLOSE_TIMEOUT if trust else None,
            )
    except TimeoutError:
        raise ConnectFailed(f"{authority(address)}: no connection in {timeout:.1f} s", waited=timeout) from None
    except ssl.SSLError as error:
        raise ConnectFailed(f"{authority(address)}: {error}", untrusted=True) from None
    except OSError as error:
        raise shortage(error) or ConnectFailed(f"{authority(address)}: {error}") from None
