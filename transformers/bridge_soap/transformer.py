"""The transformer ``soap``."""

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
from bridge_soap.documents import ALTOGETHER, BlockingFetch
from bridge_soap.importing import SoapImport, import_spec
from bridge_soap.locations import is_url
from bridge_soap.message.headers import check_names, unused
from bridge_soap.options import SoapOptions
from bridge_soap.policy.lacks import policy_lacks
from bridge_soap.wsdl.selection import OperationChoice, choose

FETCHING = 8  #: contracts that are fetched by URL at once


class Soap:
    """REST and JSON in front of a SOAP service described by WSDL 1.1 and XML Schema 1.0.

    Routes with the same WSDL share its compiled form.
    """

    name: ClassVar[str] = "soap"
    wire: ClassVar[str] = "http"
    options: ClassVar[type[Options]] = SoapOptions
    contract_key: ClassVar[str] = "wsdl"
    import_options: ClassVar[type[SoapImport]] = SoapImport

    def __init__(self) -> None:
        self._context: Context | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._contracts: WeakValueDictionary[str, Contract] = WeakValueDictionary()
        self._skipped: dict[str, tuple[str, ...]] = {}
        self._advice: dict[str, tuple[str, ...]] = {}

    async def open(self, context: Context) -> None:
        self._context = context

    async def bind(self, route: RouteSpec, options: SoapOptions) -> Sequence[Operation]:
        """Load the WSDL and compile the operation that the spec names, or all that can be compiled.

        :raises bridge.api.BindError: the WSDL does not load, or no operation can be compiled.
        """
        context = self._context
        if context is None:
            raise BindError(Fault("the soap transformer is not open"))
        if not is_url(options.wsdl.strip()):
            return await asyncio.to_thread(_checked, lambda: self._bind(route, options, context, None))
        # A thread waits for the server, which may hang, so it is not one of the event loop's pool.
        if self._threads is None:
            self._threads = ThreadPoolExecutor(FETCHING, "wsdl")
        fetch, loop = _blocking(context), asyncio.get_running_loop()
        # The thread has this task's grant, as with asyncio.to_thread.
        work = partial(_checked, lambda: self._bind(route, options, context, fetch))
        return await loop.run_in_executor(self._threads, partial(copy_context().run, work))

    def notes(self, route: RouteSpec) -> tuple[str, ...]:
        """A sentence on each operation that is not published, and on declared header blocks that the spec neither sets
        nor passes."""
        return self._skipped.get(_key(route), ())

    def advice(self, route: RouteSpec) -> tuple[str, ...]:
        """A sentence on each place where the contract is not read by the letter, and on what the service asks for by
        WS-Policy and the spec lacks."""
        return self._advice.get(_key(route), ())

    async def aclose(self) -> None:
        self._contracts.clear()
        self._skipped.clear()
        self._advice.clear()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None

    async def import_spec(self, options: SoapImport, context: Context) -> tuple[str, list[str]]:
        """A route spec for all operations of a WSDL, and notes on what it leaves out.

        :raises bridge.api.BindError: the WSDL does not load.
        """
        fetch = _blocking(context)
        work = partial(import_spec, options, context.wsdl_dir, fetch, context.output)
        return await asyncio.to_thread(_checked, work)

    # --- in a thread ---

    def _bind(
        self, route: RouteSpec, options: SoapOptions, context: Context, fetch: BlockingFetch | None
    ) -> list[Operation]:
        if options.operation is None:
            keys = [key for key in ("request", "reply") if getattr(options, key) is not None]
            if keys:
                reason = "it shapes one operation, which operation must name"
                raise BindError([Fault(reason, ("transform", "soap", key)) for key in keys])
        if options.faults and route.transform.response == "passthrough":
            reason = "it gives Faults other statuses, and transform.response: passthrough gives them as they came"
            raise BindError(Fault(reason, ("transform", "soap", "faults")))
        contract = self._contract(options, context.wsdl_dir, fetch)
        binder = Binder(contract, route, options, context.wsdl_dir.parent)
        choices = choose(contract.wsdl, options)
        with contract.lock:
            check_names(contract, [each.operation for each in choices], options)
        if options.operation is not None:
            operations, skipped = binder.operations(choices[0].operation, "", choices[0].name), list[str]()
        else:
            operations, skipped = binder.all(choices)
        self._skipped[_key(route)] = (*skipped, *self._unused_headers(contract, choices, operations, options))
        names = {each.upstream_name for each in operations}
        published = [each for each in choices if each.operation.name in names]
        if options.operation is not None:
            published = choices[:1]
        self._advice[_key(route)] = (*contract.liberties.notes, *policy_lacks(contract, published, route, options))
        return operations

    def _unused_headers(
        self, contract: Contract, choices: list[OperationChoice], operations: list[Operation], options: SoapOptions
    ) -> list[str]:
        """A sentence for each operation whose binding declares header blocks that are never sent."""
        published = {each.upstream_name for each in operations}
        sentences = []
        for each in choices:
            names = unused(contract, each.operation, options) if each.operation.name in published else []
            if names:
                blocks = f"the header block{'s' if len(names) > 1 else ''} {', '.join(names)} of {each.name}"
                sentences.append(f"{blocks}, which its binding declares and neither headers nor pass_headers names")
        return sentences

    def _contract(self, options: SoapOptions, folder: Path, fetch: BlockingFetch | None) -> Contract:
        """The contract, shared with the routes that have the same. Each route fetches it with its own credentials
        before it may share it."""
        _check_name(options.wsdl, folder)
        access = access_of(options.wsdl_auth, options.wsdl)
        contract = Contract(options.wsdl, folder, access, fetch, strict=options.strict, blocks=options.headers)
        return self._contracts.setdefault(contract.digest, contract)


def _check_name(wsdl: str, folder: Path) -> None:
    """:raises bridge.api.BindError: the name begins with the folder that it is relative to."""
    prefix = f"{folder.name}/"
    if wsdl.startswith(prefix) and not (folder / wsdl).exists():
        reason = f"names are below {prefix}: write {wsdl.removeprefix(prefix)}"
        raise BindError(Fault(reason, ("transform", "soap", "wsdl")))


def _blocking(context: Context) -> BlockingFetch:
    """The gateway's fetch for threads. It runs in the current event loop, with the caller's grant."""
    loop = asyncio.get_running_loop()

    async def fetch(url: str, headers: Mapping[str, str]) -> bytes:
        return await context.fetch(url, headers)

    def run(url: str, headers: Mapping[str, str]) -> bytes:
        # The gateway limits the time. The limit here is for an event loop that was closed meanwhile.
        return asyncio.run_coroutine_threadsafe(fetch(url, headers), loop).result(2 * ALTOGETHER)

    return run


T = TypeVar("T")


def _checked(work: Callable[[], T]) -> T:
    """The result of `work`. Some errors of a contract appear only when it is used, as other exceptions: invalid URLs,
    numbers of five thousand digits.

    :raises bridge.api.BindError: for those, too.
    """
    try:
        return work()
    except (ValueError, OSError, RecursionError, MemoryError) as error:
        if isinstance(error, BindError):
            raise
        reason = f"the contract can't be used: {type(error).__name__}: {str(error)[:200]}"
        raise BindError(Fault(reason, ("transform", "soap", "wsdl"))) from None


def _key(route: RouteSpec) -> str:
    return f"{route.host or ''} {route.tenant or ''} {route.route}"
