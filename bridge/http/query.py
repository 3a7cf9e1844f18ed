"""Query parameters that a route ignores: they are taken out of the query before anything reads, logs or sends it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from urllib.parse import unquote_plus

#: Stands for `SYSTEM` in a list of names.
GOOGLE = "google"
#: The system parameters of Google's REST APIs (cloud.google.com/apis/docs/system-parameters), which its generated
#: clients add to every call, each with and without ``$``.
SYSTEM = frozenset(
    sign + name
    for name in (
        ".xgafv", "access_token", "alt", "apiVersion", "bearer_token", "callback", "ct", "enum-encoding", "fields",
        "httpHeaders", "httpMethod", "key", "oauth_token", "outputDefaults", "pp", "prettyPrint", "quotaUser", "req",
        "trace", "unique", "uploadType", "upload_protocol", "userIp", "userProject",
    )
    for sign in ("", "$")
)  # fmt: skip


def ignored_query(names: Iterable[str]) -> frozenset[str]:
    """The parameters that `names` stand for: `GOOGLE` is all of `SYSTEM`."""
    return frozenset(each for name in names for each in (SYSTEM if name == GOOGLE else (name,)))


def without(query: str, names: Collection[str]) -> str:
    """`query` without the parameters of these `names`, which are compared percent-decoded; the rest is as sent."""
    return "&".join([part for part in query.split("&") if unquote_plus(part.partition("=")[0]) not in names])
