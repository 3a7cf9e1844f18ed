"""Tables that follow from one another, against tables built whole and against a plain reading of the rule."""

from __future__ import annotations

import asyncio
import gc
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from bridge.api import Context
from bridge.api.spec.route import RouteSpec
from bridge.cluster.pool import OfflineUpstreams
from bridge.config.settings import Settings
from bridge.errors import ConflictError, MethodNotAllowed, NotFound
from bridge.fronts.publish import Fronts
from bridge.gateway.chain import Chain, stages
from bridge.gateway.table import Binder, BoundRoute, Source, Table
from bridge.plugins import Transformers
from bridge.stages.auth.anonymous import OpenAuthenticator


def binder() -> Binder:
    here = Path()
    return Binder(
        Transformers(Context(here, here)),
        lambda spec: OpenAuthenticator(()),
        OfflineUpstreams(here).bind,
        fronts=Fronts(),
        chain=Chain(stages(Settings(), {})),
    )


def bind(binder: Binder, id: int, route: str, methods: list[str] | None = None, host: str | None = None) -> BoundRoute:
    spec = {
        "route": route,
        "upstream": "svc:80",
        "auth": "none",
        "transform": {"request": "passthrough"},
        **({"methods": methods} if methods else {}),
        **({"host": host} if host else {}),
    }
    return asyncio.run(binder.bind(Source(id, "store", RouteSpec.model_validate(spec))))


def claims(route: BoundRoute) -> list[tuple[str, str, str, str]]:
    """(what is shown, host, shape, method), read off the spec."""
    spec = route.source.spec
    shape = re.sub(r"\{[a-z]+(\*?)\}", r"{\1}", spec.route)
    return [
        (f"{method} {spec.host or ''}{spec.route}", spec.host or "", shape, method) for method in spec.methods or ("*",)
    ]


def plain_reading(routes: list[BoundRoute]) -> tuple[list[int], list[tuple[int, str]]]:
    """Who serves and who is refused, and why: one after the other, each against all that were let in before."""
    held: dict[tuple[str, str], dict[str, Any]] = {}
    serving, refused = [], []
    for route in routes:
        id: Any = route.source.id
        reason = ""
        for shown, host, shape, method in claims(route):
            at = held.get((host, shape), {})
            others = [at[name] for name in (sorted(at) if method == "*" else (method, "*")) if name in at]
            if others:
                reason = f"{shown} is published twice: by route {others[0]} and by route {id}"
                break
        if reason:
            refused.append((id, reason))
        else:
            serving.append(id)
            for _, host, shape, method in claims(route):
                held.setdefault((host, shape), {})[method] = id
    return serving, refused


PATHS = ("/a", "/a/b", "/a/x", "/x", "/a/x/b", "/b", "/a/x:go", "/b/x/y", "/")
ROUTES = ("/a", "/a/b", "/a/{x}", "/a/{y}", "/{x}", "/a/{x}/b", "/a/{x}:go", "/b/{r*}", "/{r*}", "/")


def answers(table: Table) -> list[Any]:
    """What `table` answers, of everything that the routes of these tests may take."""
    found: list[Any] = []
    for host in ("h", "g"):
        for path in PATHS:
            for method in ("GET", "POST", "HEAD", "DELETE"):
                try:
                    endpoint, params = table.match(host, path, method)
                    found.append((endpoint, params))
                except NotFound:
                    found.append(404)
                except MethodNotAllowed as error:
                    found.append(error.headers)
    return found


def nodes(table: Table) -> int:
    def count(node: Any) -> int:
        return 1 + sum(map(count, node.literals.values())) + (count(node.one) if node.one else 0)

    return sum(map(count, [table._matcher._everywhere, *table._matcher._hosts.values()]))


class Tables(RuleBasedStateMachine):
    """Each step makes the next table; the list of routes beside it is what a whole table is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.binder = binder()
        self.routes: list[BoundRoute] = []
        self.table = Table()
        self.older: list[tuple[Table, list[Any]]] = []

    def step(self, table: Table) -> None:
        self.older.append((self.table, answers(self.table)))
        self.table = table

    @rule(
        id=st.integers(1, 9),
        route=st.sampled_from(ROUTES),
        methods=st.sampled_from([None, ["GET"], ["POST"], ["GET", "POST"], ["DELETE"]]),
        host=st.sampled_from([None, None, "h"]),
    )
    def put(self, id: int, route: str, methods: list[str] | None, host: str | None) -> None:
        bound = bind(self.binder, id, route, methods, host)
        others = [other for other in self.table.routes.values() if other.source.id != id]
        whole = Table([*others, bound])
        told = ""
        try:
            self.table.check(bound)
        except ConflictError as error:
            told = str(error)
        assert [str(why) for _, why in whole.refused] == ([told] if told else [])
        known = [at for at, other in enumerate(self.routes) if other.source.id == id]
        if known:
            self.routes[known[0]] = bound
        else:
            self.routes.append(bound)
        self.step(self.table.with_route(bound))

    @rule(id=st.integers(1, 9))
    def delete(self, id: int) -> None:
        self.routes = [route for route in self.routes if route.source.id != id]
        self.step(self.table.without(id))

    @rule(data=st.data())
    def several(self, data: st.DataObject) -> None:
        """What a reload does: some go, some change, some come in between; now and then the order changes."""
        kept = [route for route in self.routes if data.draw(st.integers(0, 3))]
        if data.draw(st.booleans()):
            kept = data.draw(st.permutations(kept))
        for id in data.draw(st.lists(st.integers(1, 12), max_size=4, unique=True)):
            fresh = bind(
                self.binder, id, data.draw(st.sampled_from(ROUTES)), data.draw(st.sampled_from([None, ["GET"]]))
            )
            at = data.draw(st.integers(0, len(kept)))
            kept = [route for route in kept if route.source.id != id]
            kept.insert(at, fresh)
        self.routes = kept
        self.step(self.table.over(kept))

    @invariant()
    def is_as_if_built_whole(self) -> None:
        whole = Table(self.routes)
        serving, refused = plain_reading(self.routes)
        for table in (whole, self.table):
            assert list(table.routes) == serving
            assert [(route.source.id, str(error)) for route, error in table.refused] == refused
        assert [self.table.routes[id] for id in serving] == [whole.routes[id] for id in serving]
        assert answers(self.table) == answers(whole)

    def teardown(self) -> None:
        for table, before in self.older:
            assert answers(table) == before, "a table that was swapped out answers as it did"
        for route in list(self.routes):
            self.table = self.table.without(route.source.id)
        assert nodes(self.table) == 1, "nothing is left of routes that are gone"


Tables.TestCase.settings = settings(max_examples=120, stateful_step_count=20, deadline=None)
TestTables = Tables.TestCase


@pytest.mark.slow
def test_tables_at_length() -> None:
    run_state_machine_as_test(Tables, settings=settings(max_examples=400, stateful_step_count=20, deadline=None))


def test_a_refused_route_serves_when_what_it_claims_is_free_and_makes_room_when_it_is_taken_back() -> None:
    made = binder()
    one, two, three = (bind(made, id, "/a", methods) for id, methods in ((1, ["GET"]), (2, None), (3, ["POST"])))
    table = Table([one, two, three])
    assert list(table.routes) == [1, 3]
    gone = table.without(1)
    assert (list(gone.routes), [route.source.id for route, _ in gone.refused]) == ([2], [3])
    assert list(gone.over([one, two, three]).routes) == [1, 3], (
        "the one before it is back, and the one after it is free"
    )
    assert list(gone.without(2).routes) == [3]


def test_a_file_that_is_named_twice_is_in_its_own_way() -> None:
    route = bind(binder(), 1, "/a")
    assert [other for other, _ in Table([route, route]).refused] == [route]


def calls(work: Callable[[], object]) -> int:
    """The function calls of `work`, without those of finalizers that the garbage collector runs now and then."""
    count = 0

    def note(frame: object, event: str, arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    gc.disable()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
        gc.enable()
    return count


@pytest.mark.parametrize("sizes", [(10, 3000)])
def test_one_route_more_or_less_costs_the_same_with_thousands(sizes: tuple[int, int]) -> None:
    """Counted in function calls, not in time."""
    made = binder()
    costs = []
    for size in sizes:
        table = Table(bind(made, n, f"/v1/g{n % 2}/r{n}/{{id}}", ["GET", "POST"]) for n in range(size))
        new, other = bind(made, size, "/v1/g1/new", ["GET"]), bind(made, 5, "/v1/g1/other/{id}", ["GET"])
        costs.append(
            [
                calls(partial(table.check, new)),
                calls(partial(table.with_route, new)),
                calls(partial(table.with_route, other)),
                calls(partial(table.without, 7)),
            ]
        )
    assert costs[0] == costs[1]
