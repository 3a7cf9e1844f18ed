"""How the calls of one operation are sent, if what they carry differs from call to call and is not the codec's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from bridge.api.call import Call
from bridge.api.egress import Cookies, Credentials
from bridge.api.stage import BoundOperation
from bridge.egress.authorized import AuthorizedOperation
from bridge.egress.session import SessionOperation

SentOperation = BoundOperation | SessionOperation | AuthorizedOperation


def sending(operation: BoundOperation) -> Callable[[Call], SentOperation] | None:
    """From a call to the operation that sends it with the route's credentials and cookies; None: there are none of
    these, and the operation itself sends all calls."""
    credentials, cookies = operation.credentials, operation.cookies
    if cookies is None:
        return None if credentials is None else partial(AuthorizedOperation, operation, credentials)
    if credentials is None:
        return partial(SessionOperation, operation, cookies)
    return partial(_both, operation, credentials, cookies)


def _both(operation: BoundOperation, credentials: Credentials, cookies: Cookies, call: Call) -> SentOperation:
    """A reply that refuses the credentials may set cookies, too, which the second request has."""
    return AuthorizedOperation(SessionOperation(operation, cookies, call), credentials, call)
