"""The soap transformer: what the entry point names."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import ClassVar, TypeVar
from weakref import WeakValueDictionary

from bridge.api import BindError, Context, Fault, Operation, Options, RouteSpec
from bridge_soap.access import access_of
from bridge_soap.binding import Binder
from bridge_soap.contract import Contract
from bridge_soap.documents import ALTOGETHER, BlockingFetch, is_url
from bridge_soap.importing import SoapImport, import_spec
from bridge_soap.message.headers import check_names, unused
from bridge_soap.options import SoapOptions
from bridge_soap.wsdl.selection import Chosen, choose

FETCHING = 8  #: contracts that are fetched by URL at once


class Soap:
    """REST and JSON in front of a SOAP service described by WSDL 1.1 and XML Schema 1.0.

    Routes on the same WSDL share its compiled form as long as any of them lives.
    """

    name: ClassVar[str] = "soap"
    wire: ClassVar[str] = "http"
    options: ClassVar[type[Options]] = SoapOptions
    import_options: ClassVar[type[SoapImport]] = SoapImport

    def __init__(self) -> None:
        self._context: Context | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._contracts: WeakValueDictionary[str, Contract] = WeakValueDictionary()
        self._skipped: dict[str, tuple[str, ...]] = {}

    async def open(self, context: Context) -> None:
        self._context = context

    async def bind(self, route: RouteSpec, options: SoapOptions) -> Sequence[Operation]:
        """Load the WSDL and compile the operation that the spec names, or all.

        Where all are asked for, one that can't be compiled is left out, and `notes` says why.

        :raises bridge.api.BindError: the WSDL does not load, or nothing of what is asked for can be served.
        """
        context = self._context
        if context is None:
            raise BindError(Fault("the soap transformer is not open"))
        if not is_url(options.wsdl.strip()):
            return await asyncio.to_thread(_told, lambda: self._bind(route, options, context, None))
        # A server that hangs holds the thread that waits for it, and must not hold those that everybody else works in.
        if self._threads is None:
            self._threads = ThreadPoolExecutor(FETCHING, "wsdl")
        fetch, loop = _blocking(context), asyncio.get_running_loop()
        # The thread works under this task's grant, as those of asyncio.to_thread do.
        work = partial(_told, lambda: self._bind(route, options, context, fetch))
        return await loop.run_in_executor(self._threads, partial(copy_context().run, work))

    def notes(self, route: RouteSpec) -> tuple[str, ...]:
        """What of a route's WSDL is left out: operations that could not be published, each with its reason, and
        header blocks that are declared and that the spec neither sets nor passes."""
        return self._skipped.get(_key(route), ())

    async def aclose(self) -> None:
        self._contracts.clear()
        self._skipped.clear()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None

    async def import_spec(self, options: SoapImport, context: Context) -> tuple[str, list[str]]:
        """A route spec for all operations of a WSDL, ready to serve, and notes on what it could not publish.

        :raises bridge.api.BindError: the WSDL does not load.
        """
        fetch = _blocking(context)
        return await asyncio.to_thread(_told, lambda: import_spec(options, context.wsdl_dir, fetch))

    # --- in a thread ---

    def _bind(
        self, route: RouteSpec, options: SoapOptions, context: Context, fetch: BlockingFetch | None
    ) -> list[Operation]:
        if options.operation is None:
            named = [name for name in ("request", "reply") if getattr(options, name) is not None]
            if named:
                why = "it shapes one operation, which operation must name"
                raise BindError([Fault(why, key=f"transform.soap.{name}") for name in named])
        contract = self._contract(options, context.wsdl_dir, fetch)
        binder = Binder(contract, route, options, context.wsdl_dir.parent)
        chosen = choose(contract.wsdl, options)
        with contract.lock:
            check_names(contract, [each.operation for each in chosen], options)
        if options.operation is not None:
            found, skipped = binder.operations(chosen[0].operation, "", chosen[0].name), list[str]()
        else:
            found, skipped = binder.all(chosen)
        self._skipped[_key(route)] = (*skipped, *self._silent_headers(contract, chosen, found, options))
        return found

    def _silent_headers(
        self, contract: Contract, chosen: list[Chosen], found: list[Operation], options: SoapOptions
    ) -> list[str]:
        """A sentence for each operation whose binding declares header blocks that no one will ever send."""
        published = {each.upstream_name for each in found}
        said = []
        for each in chosen:
            names = unused(contract, each.operation, options) if each.operation.name in published else []
            if names:
                blocks = f"the header block{'s' if len(names) > 1 else ''} {', '.join(names)} of {each.name}"
                said.append(f"{blocks}, which its binding declares and neither headers nor pass_headers names")
        return said

    def _contract(self, options: SoapOptions, folder: Path, fetch: BlockingFetch | None) -> Contract:
        """The contract, shared with the routes that have the same. Each route fetches for itself what it shares, so
        none gets what its own credentials would not have got it."""
        made = Contract(options.wsdl, folder, access_of(options.wsdl_auth, options.wsdl), fetch)
        return self._contracts.setdefault(made.digest, made)


def _blocking(context: Context) -> BlockingFetch:
    """The gateway's fetch for threads: it runs on the loop that this is called on, under the caller's grant."""
    loop = asyncio.get_running_loop()

    async def fetch(url: str, headers: Mapping[str, str]) -> bytes:
        return await context.fetch(url, headers)

    def run(url: str, headers: Mapping[str, str]) -> bytes:
        # The gateway bounds the time; the bound here is for a loop that was closed meanwhile.
        return asyncio.run_coroutine_threadsafe(fetch(url, headers), loop).result(2 * ALTOGETHER)

    return run


T = TypeVar("T")


def _told(work: Callable[[], T]) -> T:
    """`work`'s result. A contract can be wrong in ways that only its use brings to light: URLs that are none, numbers
    of five thousand digits. One that is can't be bound, and stops nothing else."""
    try:
        return work()
    except (ValueError, OSError, RecursionError, MemoryError) as error:
        if isinstance(error, BindError):
            raise
        why = f"the contract can't be used: {type(error).__name__}: {str(error)[:200]}"
        raise BindError(Fault(why, key="transform.soap.wsdl")) from None


def _key(route: RouteSpec) -> str:
    return f"{route.host or ''} {route.tenant or ''} {route.route}"
