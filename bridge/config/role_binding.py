"""A role that the admin API gives to callers beside what their tokens say: an entry of ``roles`` in ``tenants.yml``, or
one that was made by ``/-/bindings``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from bridge.api.spec.route import TENANT
from bridge.api.spec.scalars import Model, Names
from bridge.api.values import claim_of

EVERYWHERE = "*"  #: in place of a tenant: the role of an operator
MAX_SUBJECTS = 1000  #: of one binding

AdminRole = Literal["api_publisher", "api_admin", "auditor"]


def _some(texts: tuple[str, ...]) -> tuple[str, ...]:
    if not texts or "" in texts:
        raise ValueError("it must name at least one, and none of them empty")
    return texts


Texts = Annotated[
    Names,
    AfterValidator(_some),
    Field(max_length=MAX_SUBJECTS),
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
]


class RoleBinding(Model):
    """Who has `role` in `tenant`: callers whose token is of `issuer` and has one of `subjects` as its ``sub``, and of
    each of `claims` one of the given texts, as its value or in its list.

    `claims` are named as in ``roles_claim`` of an issuer: dots select members of objects.
    """

    role: AdminRole
    tenant: Annotated[str, Field(pattern=rf"{TENANT}|^\*$")]
    issuer: Annotated[str, Field(min_length=1)] | None = None
    subjects: Texts | None = None
    claims: Annotated[dict[str, Texts], Field(min_length=1, max_length=20)] | None = None

    @model_validator(mode="after")
    def _somebody(self) -> RoleBinding:
        if self.subjects is None and self.claims is None:
            raise ValueError("it names nobody; write subjects, claims or both")
        if self.subjects is not None and self.issuer is None:
            raise ValueError("issuer is missing: two issuers may have one subject for two persons")
        return self

    @cached_property
    def lookup(self) -> tuple[frozenset[str] | None, tuple[tuple[str, frozenset[str]], ...]]:
        """`subjects` and `claims`, in which a text is found at once: each call of the admin API asks each binding."""
        subjects = None if self.subjects is None else frozenset(self.subjects)
        return subjects, tuple((name, frozenset(texts)) for name, texts in (self.claims or {}).items())

    def covers(self, subject: str, claims: Mapping[str, Any]) -> bool:
        """Whether a caller with a verified token of these `claims` has the role."""
        if self.issuer is not None and claims.get("iss") != self.issuer:
            return False
        subjects, wanted = self.lookup
        if subjects is not None and subject not in subjects:
            return False
        return all(_has(claims, name, texts) for name, texts in wanted)


def _has(claims: Mapping[str, Any], name: str, texts: frozenset[str]) -> bool:
    value = claim_of(claims, name)
    values = value if isinstance(value, list) else [value]
    return any(isinstance(one, str) and one in texts for one in values)
