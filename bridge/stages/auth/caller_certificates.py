"""The certificate of a call's client: of its connection, or in the field of a proxy that ended the client's TLS
(RFC 9440)."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections import OrderedDict
from hashlib import sha256

from cryptography import x509

from bridge.api.call import Call
from bridge.api.certificates import ShownCertificates
from bridge.config.settings import Networks
from bridge.errors import ClientError
from bridge.http.client_address import within
from bridge.stages.auth.client_cas import MAX_SENT, ClientCas, Vouched

FIELD, CHAIN_FIELD = "client-cert", "client-cert-chain"
MAX_ENCODED = 16 * 1024  #: characters of a certificate in a field
REMEMBERED = 1024  #: certificates of fields whose judgement is kept

#: RFC 8941, section 3.3.5: a Byte Sequence.
_BYTES = re.compile(r":([A-Za-z0-9+/]*={0,2}):")


class CallerCertificates:
    """Finds the certificate of a call.

    :param proxies: addresses that may send it in a field; such a proxy's own certificate is not the client's. Empty:
        only connections have certificates.
    """

    def __init__(self, cas: ClientCas, proxies: Networks = ()) -> None:
        self.cas = cas
        self._proxies = proxies
        self._fields: OrderedDict[bytes, ShownCertificates] = OrderedDict()

    def present(self, call: Call) -> bool:
        """Whether there is a certificate, valid or not."""
        request = call.request
        if request is None:
            return False
        if self._proxies and within(request.peer, self._proxies):
            return any(name == FIELD for name, _ in call.headers)
        return request.certificates is not None

    def of(self, call: Call) -> Vouched | None:
        """The certificate, and who vouches for it; None if there is none.

        :raises ClientError: a proxy's fields can't be read.
        :raises Forbidden, IssuerUnavailable: as `ClientCas.vouch`.
        """
        request = call.request
        if request is None:
            return None
        if self._proxies and within(request.peer, self._proxies):
            shown = self._forwarded(call)
        else:
            shown = request.certificates
        return None if shown is None else self.cas.vouch(shown)

    def _forwarded(self, call: Call) -> ShownCertificates | None:
        """RFC 9440, section 2. :raises ClientError: a field can't be read."""
        own, chain = call.values(FIELD), call.values(CHAIN_FIELD)
        if not own:
            if chain:
                raise ClientError("Client-Cert-Chain was sent without Client-Cert.")
            return None
        if len(own) > 1:
            raise ClientError("Client-Cert was sent more than once.")
        texts = [own[0], *(item.strip(" \t") for item in ",".join(chain).split(",") if chain)]
        if len(texts) > 1 + MAX_SENT:
            raise ClientError(f"Client-Cert-Chain holds more than {MAX_SENT} certificates.")
        key = sha256("\n".join(texts).encode("latin-1", "replace")).digest()
        shown = self._fields.get(key)
        if shown is None:
            shown = self._fields[key] = ShownCertificates([_certificate(text) for text in texts])
            if len(self._fields) > REMEMBERED:
                self._fields.popitem(last=False)
        else:
            self._fields.move_to_end(key)
        return shown


def _certificate(text: str) -> bytes:
    """The DER in an item. :raises ClientError: it is none."""
    if len(text) > MAX_ENCODED:
        raise ClientError(f"Client-Cert holds a certificate of more than {MAX_ENCODED} characters.")
    match = _BYTES.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        der = b64decode(match[1], validate=True)
        x509.load_der_x509_certificate(der)
    except (ValueError, binascii.Error):
        raise ClientError(
            "Client-Cert is not a certificate as RFC 9440 writes it: ':', the DER in base64, ':'."
        ) from None
    return der
