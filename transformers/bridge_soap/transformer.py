"""The soap transformer: what the entry point names."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar
from weakref import WeakValueDictionary

from bridge import BindError, Context, Fault, Operation, Options, RouteSpec
from bridge_soap.binding import Binder
from bridge_soap.contract import Contract
from bridge_soap.importing import import_spec
from bridge_soap.options import SoapOptions
from bridge_soap.wsdl.selection import Chosen, choose


class Soap:
    """REST and JSON in front of a SOAP service described by WSDL 1.1 and XML Schema 1.0.

    Routes on the same WSDL share its compiled form as long as any of them lives.
    """

    name: ClassVar[str] = "soap"
    wire: ClassVar[str] = "http"
    options: ClassVar[type[Options]] = SoapOptions

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._contracts: WeakValueDictionary[str, Contract] = WeakValueDictionary()
        self._skipped: dict[str, tuple[str, ...]] = {}

    async def open(self, context: Context) -> None:
        self._folder = context.wsdl_dir

    async def bind(self, route: RouteSpec, options: SoapOptions) -> Sequence[Operation]:
        """Load the WSDL and compile the operation that the spec names, or all.

        Where all are asked for, one that can't be compiled is left out, and `notes` says why.

        :raises bridge.BindError: the WSDL does not load, or nothing of what is asked for can be served.
        """
        return await asyncio.to_thread(self._bind, route, options)

    def notes(self, route: RouteSpec) -> tuple[str, ...]:
        """The operations of a route's WSDL that could not be published, each with its reason."""
        return self._skipped.get(_key(route), ())

    async def aclose(self) -> None:
        self._contracts.clear()
        self._skipped.clear()

    async def import_spec(self, source: Sequence[str], context: Context) -> tuple[str, list[str]]:
        """A route spec for all operations of a WSDL, ready to serve, and notes on what it could not publish.

        :param source: one WSDL: a file (below ``wsdl/``, or anywhere) or a URL.
        :returns: the spec as YAML, and the notes, a sentence each.
        :raises bridge.BindError: the WSDL does not load.
        """
        if len(source) != 1:
            raise BindError(f"one WSDL makes one spec; {len(source)} were given")
        return await asyncio.to_thread(import_spec, source[0], context.wsdl_dir)

    # --- in a thread ---

    def _bind(self, route: RouteSpec, options: SoapOptions) -> list[Operation]:
        try:
            return self._operations(route, options)
        except RecursionError:
            raise BindError(Fault("its types lead into one another too deeply", key="transform.soap.wsdl")) from None

    def _operations(self, route: RouteSpec, options: SoapOptions) -> list[Operation]:
        contract = self._contract(options.wsdl)
        binder = Binder(contract, route, options)
        chosen = choose(contract.wsdl, options)
        if options.operation is not None:
            self._skipped.pop(_key(route), None)
            return binder.operations(chosen[0].operation, "", chosen[0].name)
        return self._bind_all(route, contract, binder, chosen)

    def _bind_all(self, route: RouteSpec, contract: Contract, binder: Binder, chosen: list[Chosen]) -> list[Operation]:
        found: list[Operation] = []
        faults: list[Fault] = []
        skipped = [str(fault) for fault in contract.wsdl.faults]
        for each in chosen:
            try:
                found += binder.operations(each.operation, f"/{each.name}", each.name)
            except BindError as error:
                skipped.append(f"{each.name}: {error.faults[0]}")
                faults += error.faults
        if not found:
            raise BindError(faults)
        self._skipped[_key(route)] = tuple(skipped)
        return found

    def _contract(self, reference: str) -> Contract:
        if self._folder is None:
            raise BindError(Fault("the soap transformer is not open"))
        made = Contract(reference, self._folder)
        return self._contracts.setdefault(made.digest, made)


def _key(route: RouteSpec) -> str:
    return f"{route.host or ''} {route.tenant or ''} {route.route}"
