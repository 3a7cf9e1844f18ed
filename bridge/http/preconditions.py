"""Conditional requests (RFC 9110, section 13.1): ``If-Match``, ``If-None-Match`` and their dates."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from bridge.errors import ClientError, PreconditionFailed

#: An entity-tag (RFC 9110, section 8.8.3): whether it is weak, and the opaque part between the quotes.
_TAG = r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"'
#: A list as recipients must accept it, with empty elements (section 5.6.1.2).
_LIST = re.compile(rf"[ \t,]*(?:{_TAG}[ \t]*(?:,[ \t,]*|$))*")
_TAGS = re.compile(_TAG)

#: The tags of a field, or None for ``*``.
Tags = Sequence[tuple[bool, str]] | None


@dataclass(frozen=True, slots=True)
class Preconditions:
    """A request's conditions on the current version; `has_match` and `has_none_match`: the field was sent."""

    match: Tags
    none_match: Tags
    has_match: bool
    has_none_match: bool

    @classmethod
    def of(cls, match: Sequence[str], none_match: Sequence[str]) -> Preconditions:
        """From the values of all fields named ``If-Match`` and ``If-None-Match``.

        :raises ClientError: one is malformed; ignoring it could overwrite a version that the client hasn't read.
        """
        return cls(_tags("If-Match", match), _tags("If-None-Match", none_match), bool(match), bool(none_match))

    def matches(self, etag: str) -> bool:
        """Whether ``If-Match`` holds: strong comparison, so a weak tag matches nothing (section 13.1.1)."""
        return not self.has_match or self.match is None or (False, etag) in self.match

    def known(self, etag: str) -> bool:
        """Whether ``If-None-Match`` names `etag`: weak comparison (section 13.1.2)."""
        if not self.has_none_match:
            return False
        return self.none_match is None or any(tag == etag for _, tag in self.none_match)

    def judge(self, etag: str | None) -> None:
        """Check a change to the version `etag`; None: there is no current version.

        :raises PreconditionFailed: the request is for another version.
        """
        if etag is None:
            if self.has_match:
                raise PreconditionFailed(
                    "The route has been deleted since you read it. Without If-Match it is restored."
                )
            return
        if not self.matches(etag):
            raise PreconditionFailed(
                "The route has changed since you read it. Read it again, then decide.", headers=[("etag", f'"{etag}"')]
            )
        if self.known(etag):
            raise PreconditionFailed(
                "If-None-Match names the version that there is, and this request would change it.",
                headers=[("etag", f'"{etag}"')],
            )


def has_changed(match: Sequence[str], unmodified_since: str, etag: str, last_modified: str) -> bool:
    """Whether a stored reply to GET or HEAD is another version than the client asks for (RFC 9110, sections 13.1.1 and
    13.1.4). A condition that can't be judged is ignored, as section 13.1.1 permits: it is malformed, or the reply lacks
    the field.

    :param match, unmodified_since: the request's ``If-Match`` fields and ``If-Unmodified-Since``.
    :param etag, last_modified: the reply's fields, ``""`` if it has none.
    """
    if match:
        try:
            tags = _tags("If-Match", match)
        except ClientError:
            return False
        own = _TAGS.fullmatch(etag)
        return tags is not None and own is not None and (bool(own[1]) or (False, own[2]) not in tags)
    return bool(unmodified_since and last_modified) and _seconds(last_modified) > _seconds(unmodified_since)


def not_modified(none_match: Sequence[str], modified_since: str, etag: str, last_modified: str) -> bool:
    """Whether a stored reply to GET or HEAD is the one that the client has (RFC 9110, section 13.2.2; RFC 9111, section
    4.3.2).

    :param none_match, modified_since: the request's ``If-None-Match`` fields and ``If-Modified-Since``; malformed ones
        are ignored.
    :param etag, last_modified: the reply's fields, ``""`` if it has none.
    """
    if none_match:
        try:
            tags = _tags("If-None-Match", none_match)
        except ClientError:
            return False
        match = _TAGS.fullmatch(etag)
        return tags is None or (match is not None and any(tag == match[2] for _, tag in tags))
    return bool(modified_since and last_modified) and _seconds(last_modified) <= _seconds(modified_since)


def _seconds(date: str) -> float:
    """Unix seconds of an HTTP date; NaN, which compares as false, if it is none."""
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return math.nan


def _tags(name: str, values: Sequence[str]) -> Tags:
    text = ",".join(values)
    if text.strip(" \t") == "*":
        return None
    if not _LIST.fullmatch(text):
        raise ClientError(f'{name} is malformed; write "*" or entity tags in quotes, as ETag has them: "abc", "def".')
    return [(bool(weak), tag) for weak, tag in _TAGS.findall(text)]
