"""JSON of any depth that a reply has is read in a request, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridge.api import FAST_PATHS, Call, HttpReply, InvalidBody
from tests.soap_kit import envelope, make_echo

NODE = """<xs:element name="r" type="t:Node"/><xs:complexType name="Node"><xs:sequence>
  <xs:element name="node" type="t:Node" minOccurs="0" maxOccurs="%s"/>
  <xs:element name="text" type="xs:string" minOccurs="0"/></xs:sequence></xs:complexType>"""


#: The plain readers take more of the interpreter's stack for each level.
DEEPEST = 250 if FAST_PATHS else 150


@pytest.mark.parametrize("count", ["1", "unbounded"])
def test_the_deepest_reply_can_be_sent_back(tmp_path: Path, count: str) -> None:
    codec: Any = make_echo(tmp_path, NODE % count).operation.codec
    json_type = [("content-type", "application/json")]
    for levels in (100, DEEPEST):
        xml = f"<t:r xmlns:t='urn:t'>{'<t:node>' * levels}<t:text>x</t:text>{'</t:node>' * levels}</t:r>"
        reply = codec.reply(Call("POST"), HttpReply(200, [("content-type", "text/xml")], envelope(xml)))
        sent = codec.request(Call("POST", headers=json_type, body=reply.content))
        again = codec.reply(Call("POST"), HttpReply(200, [("content-type", "text/xml")], sent.body))
        assert again.content == reply.content
    with pytest.raises(InvalidBody):
        codec.request(Call("POST", headers=json_type, body=b'{"node":' * 600 + b"{}" + b"}" * 600))
