"""Which HTTP method and path reaches which rpc: rules of the spec, annotations of the proto, automatic paths.

A rule of the spec replaces the annotation of its method and any earlier rule ("last one wins",
``google/api/http.proto``). Of two rules for the same requests the last one is served, as by grpc-gateway, but a rule of
the spec before an annotation. What an annotation asks for and can't be served costs that rule alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from bridge.api import WEBSOCKET, Fault, KeyPath, is_served, is_token, key_of, parse_template, suggestion
from bridge_grpc.mapping.http_rule import Template, TemplateError, parse
from bridge_grpc.options import RuleOptions
from bridge_grpc.schema.pool import Method


@dataclass(frozen=True, slots=True)
class Place:
    """Where a rule is written: in a file, or under a key of the spec."""

    text: str
    file: str = ""
    line: int = 0
    path: KeyPath = ()

    def fault(self, reason: str) -> Fault:
        return Fault(reason, self.path, self.file, self.line)

    def __str__(self) -> str:
        at = key_of(self.path) or (f"{self.file}:{self.line}" if self.line else self.file)
        return f"{self.text} ({at})" if at else self.text


@dataclass(frozen=True, slots=True)
class Rule:
    """One pattern of one rpc. `body` is ``""``, ``*`` or a field; `automatic`: ``POST /package.Service/Method``."""

    method: Method
    http_method: str
    template: Template
    body: str
    response_body: str
    place: Place
    automatic: bool = False


@dataclass(slots=True)
class Publication:
    """The rules that a route publishes, what is wrong with others, and a sentence for each one that is left out.

    :ivar strict: a rule that is left out is a fault.
    """

    strict: bool = False
    rules: list[Rule] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def leave_out(self, place: Place, reason: str) -> None:
        """`reason` is why the rule at `place` can't be served: a fault if the spec itself has the rule."""
        if place.path or self.strict:
            self.faults.append(place.fault(reason))
        else:
            self.skip(place, reason)

    def skip(self, place: Place, reason: str) -> None:
        if self.strict:
            self.faults.append(place.fault(reason))
        else:
            self.skipped.append(f"{place}: {reason}")


def publish(
    route: str,
    methods: Sequence[Method],
    outside: Sequence[RuleOptions],
    all_methods: Mapping[str, Method],
    *,
    strict: bool = False,
    problem: Callable[[Rule], str] = lambda rule: "",
) -> Publication:
    """All rules of `methods`, relative to the path `route`; `all_methods`: the schema's methods by full name.

    :param strict: refuse what would be left out.
    :param problem: why a rule can't be served; ``""`` if it can. Asked where several match the same requests.
    """
    publication = Publication(strict)
    faults = publication.faults
    overrides: dict[str, tuple[int, RuleOptions]] = {}
    for at, rule in enumerate(outside):
        if rule.selector not in all_methods:
            faults.append(_unknown_selector(at, rule.selector, all_methods))
        elif rule.selector not in {method.full_name for method in methods}:
            reason = f"the route publishes only its service, which {rule.selector!r} is not a method of"
            faults.append(Fault(reason, ("transform", "grpc", "http_rules", at, "selector")))
        overrides[rule.selector] = at, rule
    for method in methods:
        if method.full_name in overrides:
            patterns = _from_spec(method, *overrides[method.full_name])
        else:
            patterns = _from_annotation(method, publication)
        for http_method, path, body, response_body, place in patterns:
            if http_method == WEBSOCKET or not (http_method == "*" or is_token(http_method)):
                publication.leave_out(place, f"{method.full_name}: {http_method!r} can't be the method of a rule")
                continue
            if http_method != "*" and not is_served(http_method):
                publication.skip(place, f"{http_method} is not an HTTP method that the gateway's server reads")
                continue
            try:
                template = below(route, parse(path))
            except TemplateError as error:
                publication.leave_out(place, f"{method.full_name}: {error}")
                continue
            publication.rules.append(Rule(method, http_method, template, body, response_body, place))
        place = Place(f"the automatic path of {method.full_name}", method.file, method.line)
        publication.rules.append(Rule(method, "POST", parse(method.path), "*", "", place, automatic=True))
    publication.rules = _distinct(publication, problem)
    return publication


def _distinct(publication: Publication, problem: Callable[[Rule], str]) -> list[Rule]:
    """One rule for the same requests: that of the spec, else of an annotation, else an automatic path; the last one of
    a kind. Rules with a problem don't count."""
    by_key: dict[tuple[str, tuple[str, ...]], Rule] = {}
    for rule in publication.rules:
        key = rule.http_method, rule.template.key()
        other = by_key.get(key)
        if other is None:
            by_key[key] = rule
            continue
        problems = {id(each): reason for each in (other, rule) if (reason := problem(each))}
        for each in (other, rule):
            if id(each) in problems:
                publication.leave_out(each.place, problems[id(each)])
        if problems:
            sound = [each for each in (other, rule) if id(each) not in problems]
            by_key.pop(key)
            if sound:
                by_key[key] = sound[0]
            continue
        first, last = sorted((other, rule), key=lambda each: (not each.automatic, bool(each.place.path)))
        by_key[key] = last
        if first.method != last.method or not first.automatic:
            claim = f"{first.http_method} {first.template.text} is claimed twice"
            reason = f"{claim}: by {first.place} and by {last.place}, which is served"
            if publication.strict:
                publication.faults.append(first.place.fault(reason))
            else:
                publication.skipped.append(reason)
    served = {id(rule) for rule in by_key.values()}
    return [rule for rule in publication.rules if id(rule) in served]


Pattern = tuple[str, str, str, str, Place]


def _from_annotation(method: Method, publication: Publication) -> Iterator[Pattern]:
    if method.rule is None:
        return
    place = Place(f"the http option of {method.full_name}", method.file, method.line)
    for rule in (method.rule, *method.rule.additional_bindings):
        pattern = rule.WhichOneof("pattern")
        if pattern is None:
            # A rule may have additional bindings only, or be an artefact of a generator.
            continue
        if rule is not method.rule and rule.additional_bindings:
            publication.leave_out(place, f"{method.full_name}: additional_bindings can't hold additional_bindings")
        custom: Any = rule.custom
        verb, path = (
            (custom.kind.upper(), custom.path) if pattern == "custom" else (pattern.upper(), getattr(rule, pattern))
        )
        yield verb, path, rule.body, rule.response_body, place


def _from_spec(method: Method, at: int, rule: RuleOptions) -> Iterator[Pattern]:
    path = ("transform", "grpc", "http_rules", at)
    yield *rule.pattern, rule.body, rule.response_body, Place(f"the rule for {method.full_name}", path=path)
    for number, binding in enumerate(rule.additional_bindings):
        place = Place(f"the rule for {method.full_name}", path=(*path, "additional_bindings", number))
        yield *binding.pattern, binding.body, binding.response_body, place


def _unknown_selector(at: int, selector: str, all_methods: Mapping[str, Method]) -> Fault:
    names = ", ".join(sorted(all_methods)[:5]) + (" …" if len(all_methods) > 5 else "")
    reason = f"there is no method {selector!r}; there are {names}{suggestion(selector, names.split(', '))}"
    return Fault(reason, ("transform", "grpc", "http_rules", at, "selector"))


def below(route: str, template: Template) -> Template:
    """`template` relative to the route: a path that starts with the route's own is the whole public path.

    So a route ``/v1`` publishes the rule ``/v1/counts`` at ``/v1/counts``, and a route ``/tally`` publishes it at
    ``/tally/v1/counts``.
    """
    parent = parse_template(route)
    base = [step for step in parent.steps if step != ""]
    segments = [segment if segment in ("*", "**") else unquote(segment) for segment in template.segments]
    inside_variable = any(variable.start < len(base) for variable in template.variables)
    if (
        not base
        or parent.rest
        or segments[: len(base)] != base
        or inside_variable
        or (len(segments) == len(base) and template.verb)
    ):
        return template
    length = len(base)
    variables = tuple(type(v)(v.field_path, v.start - length, v.end - length) for v in template.variables)
    return Template(template.text, template.segments[length:], variables, template.verb)
