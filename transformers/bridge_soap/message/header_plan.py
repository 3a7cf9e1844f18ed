"""The header blocks of one operation, from binding and spec."""

from __future__ import annotations

from pathlib import Path

from bridge_soap.components import Element
from bridge_soap.contract import Contract
from bridge_soap.message.block import Block
from bridge_soap.message.blocks_in import ReplyBlocks
from bridge_soap.message.blocks_out import RequestBlocks
from bridge_soap.message.fields import reply_fields
from bridge_soap.message.headers import block_keys, declared_headers, passed_tags, set_by_route
from bridge_soap.options import SoapOptions
from bridge_soap.wsdl.model import SoapOperation


class HeaderPlan:
    """The header blocks of one operation on one route.

    :ivar sent: elements of all blocks that a request may have.
    :ivar constant: the XML of the constant blocks.
    :ivar blocks: the blocks that the route sets.
    :ivar given: elements that a client may send in ``#headers``, by property; `returned` those in replies.
    :ivar request: the writer of the variable blocks; None if there are none.
    :ivar reply: the reader of the reply's header.
    :raises bridge.api.BindError: a block violates its schema, or a name is unknown.
    """

    def __init__(self, contract: Contract, operation: SoapOperation, options: SoapOptions, home: Path) -> None:
        # Blocks are elements, so they are literal even if the body is in the SOAP encoding.
        decoders = contract.decoders(native=options.numbers == "native", strict=options.strict)
        inbound = declared_headers(contract, operation.output)
        set_ = set_by_route(contract, operation, options)
        self.blocks = [
            Block(
                contract,
                element,
                options.headers[name],
                ("transform", "soap", "headers", name),
                operation.version,
                home,
            )
            for name, element in set_.items()
        ]
        self.constant = "".join(block.constant for block in self.blocks if block.constant is not None)
        fixed = {element.name for element in set_.values()}
        keys = block_keys(passed_tags(declared_headers(contract, operation.input), options.pass_headers))
        self.given: dict[str, Element] = {
            key: contract.schemas.element(tag) for tag, key in keys.items() if tag not in fixed
        }
        self.sent = [*set_.values(), *self.given.values()]
        writers = {key: contract.encoders.element(element) for key, element in self.given.items()}
        dynamic = [block for block in self.blocks if block.constant is None]
        self.request = (
            RequestBlocks(dynamic, writers, frozenset(key for tag, key in keys.items() if tag in fixed))
            if dynamic or keys
            else None
        )
        self.fields = reply_fields(contract, options, inbound)
        back = block_keys(passed_tags(inbound, options.pass_headers))
        self.returned: dict[str, Element] = {key: contract.schemas.element(tag) for tag, key in back.items()}
        tags = dict.fromkeys((*back, *(field.tag for field in self.fields)))
        readers = {tag: decoders.ready(contract.schemas.element(tag)) for tag in tags}
        self.reply = ReplyBlocks(readers, back, self.fields)

    def secrets(self) -> frozenset[str]:
        """Texts in the blocks that must not be shown. They change when a file was rotated."""
        return frozenset[str]().union(*(block.secrets for block in self.blocks)) - {""}
