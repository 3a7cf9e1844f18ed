"""The text of an API key: ``hmsb_ID_SECRET``, or ``hmsb_LABEL_ID_SECRET``.

==========  ====================================================================================================
``hmsb``    the same for every key, so that scanners of source code find those that leaked
``LABEL``   what the key is for (``live``, ``test``), if who made it says so
``ID``      16 hex digits, by which the store finds the key; no secret
``SECRET``  43 characters of base64url (RFC 4648, section 5): 37 random ones (222 bits), then a checksum of 6
==========  ====================================================================================================

The checksum is the CRC-32 of all text before it, big-endian, in base64url without padding. Whoever finds such a text
can tell a key from chance, or from one that was cut or mistyped, and ask nobody. Keys of earlier versions have 43
random characters and no checksum; they stay valid, since the gateway judges a key that it knows by its hash alone.
"""

from __future__ import annotations

import re
import secrets
import string
import zlib
from base64 import urlsafe_b64encode

PREFIX = "hmsb"
#: A label is shorter than an id, so that the two can't be confused.
LABEL = "[a-z][a-z0-9]{0,11}"
_FORM = re.compile(rf"{PREFIX}_(?:{LABEL}_)?([0-9a-f]{{16}})_[A-Za-z0-9_-]{{43}}")
_ALPHABET = string.ascii_letters + string.digits + "-_"
_RANDOM, _CHECKSUM = 37, 6  #: characters


def new_id() -> str:
    return secrets.token_hex(8)


def visible(key_id: str, label: str) -> str:
    """The part of the text that is no secret, by which a leaked key can be found in a list."""
    return f"{PREFIX}_{label}_{key_id}" if label else f"{PREFIX}_{key_id}"


def new_text(key_id: str, label: str) -> str:
    text = f"{visible(key_id, label)}_{''.join(secrets.choice(_ALPHABET) for _ in range(_RANDOM))}"
    return text + _checksum(text)


def id_in(text: str) -> str | None:
    """The id in a key's text; None if it has another form."""
    form = _FORM.fullmatch(text)
    return form[1] if form else None


def is_whole(text: str) -> bool:
    """Whether the checksum fits: the text was copied whole. By chance it fits to one in four thousand million."""
    return text[-_CHECKSUM:] == _checksum(text[:-_CHECKSUM])


def _checksum(text: str) -> str:
    return urlsafe_b64encode(zlib.crc32(text.encode()).to_bytes(4, "big"))[:_CHECKSUM].decode()
