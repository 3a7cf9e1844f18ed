"""Listening sockets: TCP and Unix. Every failure is one sentence."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from dataclasses import replace
from pathlib import Path

from bridge.config.address import ListenAddress
from bridge.errors import SettingsError

BACKLOG = 2048  #: connections that wait to be accepted


def listen(host: str, port: int) -> socket.socket:
    """A listening socket of the routes; `port` 0 takes a free one.

    :raises SettingsError: the port is in use or not allowed, or the host is not one of this machine's.
    """
    try:
        return _tcp(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise SettingsError(f"port {port} on {host} is in use; choose another with --port") from None
        if error.errno == errno.EACCES:
            raise SettingsError(f"port {port} may not be opened by this user; choose one above 1023") from None
        raise SettingsError(f"{host}:{port} can't be listened on: {error.strerror}") from None


def listen_at(address: ListenAddress, path: Path | None, setting: str) -> socket.socket:
    """A listening socket at what `setting` says.

    :param path: `address.path` as an absolute path.
    :raises SettingsError: it can't be opened; names `setting`.
    """
    try:
        return _tcp(address.host, address.port) if path is None else _unix(path)
    except OSError as error:
        reason = "it is in use" if error.errno == errno.EADDRINUSE else error.strerror or error
        raise SettingsError(f"{setting}: {address} can't be listened on: {reason}") from None


def address_of(listener: socket.socket) -> ListenAddress:
    """Where it listens."""
    name = listener.getsockname()
    return ListenAddress(*name[:2]) if isinstance(name, tuple) else ListenAddress(path=Path(os.fsdecode(name)))


def base_url(listener: socket.socket, tls: object, host: str = "") -> str:
    """``http://host:port``, ``https`` with `tls`; ``unix:PATH`` for a Unix socket.

    :param host: the name of this machine that was asked for; without it, the listener's address.
    """
    address = address_of(listener)
    if address.path is not None:
        return str(address)
    return f"{'https' if tls else 'http'}://{replace(address, host=host or address.host)}"


def close_listener(listener: socket.socket, path: Path | None = None) -> None:
    """Close it; a Unix socket's file at `path` is removed, unless another gateway listens there by now."""
    listener.close()
    if path is not None and not _answers(path):
        path.unlink(missing_ok=True)


def _tcp(host: str, port: int) -> socket.socket:
    """:raises OSError: it can't be opened."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return _opened(listener, address)


def _unix(path: Path) -> socket.socket:
    """A socket at `path` for the gateway's user and group. A file that a killed gateway left is replaced.

    :raises OSError: it can't be opened; EADDRINUSE: somebody listens there, or it is a file of another kind.
    """
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode) and not _answers(path):
            path.unlink()
    mask = os.umask(0o117)
    try:
        return _opened(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), str(path))
    finally:
        os.umask(mask)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True  # somebody's whom we can't reach
        return True


def _opened(listener: socket.socket, address: object) -> socket.socket:
    try:
        listener.bind(address)  # type: ignore[arg-type]  # of the socket's family
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    listener.setblocking(False)
    return listener
