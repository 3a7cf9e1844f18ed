"""Built-in types: those of XML Schema and of the SOAP encoding."""

from __future__ import annotations

from bridge_soap.components import Attribute, ComplexType, Element, Facets, Group, Particle, SimpleType, Type, Wildcard
from bridge_soap.datatypes.lexical import BUILTIN_LISTS, BUILTINS
from bridge_soap.names import DRAFTS, ENCODINGS, XSD, clark, split, xsd

ANYTHING = Wildcard(frozenset(), excluded=True, process="lax")
#: The root of all types (part 1, section 3.4.7).
ANY_TYPE = ComplexType(
    xsd("anyType"),
    mixed=True,
    particle=Particle(Group("sequence", (Particle(ANYTHING, 0, None),))),
    any_attribute=(ANYTHING,),
)


def _builtin_types() -> dict[str, Type]:
    types: dict[str, Type] = {ANY_TYPE.name: ANY_TYPE}
    for entry in BUILTINS.values():
        base = types.get(xsd(entry.base))
        types[xsd(entry.name)] = SimpleType(
            xsd(entry.name), "atomic", base if isinstance(base, SimpleType) else None, entry.name
        )
    for name, item in BUILTIN_LISTS.items():
        item_type = types[xsd(item)]
        assert isinstance(item_type, SimpleType)
        types[xsd(name)] = SimpleType(xsd(name), "list", item=item_type, facets=Facets(min_length=1))
    return types


BUILTIN_TYPES = _builtin_types()
STRING = BUILTIN_TYPES[xsd("string")]

# --- SOAP's encoding (SOAP 1.1, section 5; SOAP 1.2 part 2, section 3) -------------------------------------------


def _encoding_types() -> dict[str, Type]:
    """The types of the encoding's schema.

    Each built-in type has a counterpart with the same values that may be nil or a reference. An ``Array`` may have any
    content."""
    types: dict[str, Type] = {}
    for namespace in ENCODINGS:
        for entry in BUILTINS.values():
            twin = BUILTIN_TYPES[xsd(entry.name)]
            assert isinstance(twin, SimpleType)
            name = clark(namespace, entry.name)
            types[name] = SimpleType(name, "atomic", twin, entry.name)
        base64 = BUILTIN_TYPES[xsd("base64Binary")]
        assert isinstance(base64, SimpleType)
        types[clark(namespace, "base64")] = SimpleType(clark(namespace, "base64"), "atomic", base64, "base64Binary")
        for local in ("Array", "Struct"):
            types[clark(namespace, local)] = ComplexType(
                clark(namespace, local), base=ANY_TYPE, particle=ANY_TYPE.particle, any_attribute=(ANYTHING,)
            )
    return types


ENCODING_TYPES = _encoding_types()
#: The types that arrays derive from.
ARRAYS = tuple(clark(namespace, "Array") for namespace in ENCODINGS)


def encoding_attribute(name: str) -> Attribute | None:
    """The declaration of ``arrayType``, ``offset``, ``position`` or another attribute of the encoding."""
    namespace, _ = split(name)
    if namespace not in ENCODINGS:
        return None
    assert isinstance(STRING, SimpleType)
    return Attribute(name, STRING)


#: A schema inside a message, as in .NET DataSets.
SCHEMA = Element(xsd("schema"), lambda: ANY_TYPE, is_global=True)

# --- drafts --------------------------------------------------------------------------------------------------------

#: Type names of XML Schema drafts.
_RENAMED = {
    "ur-type": "anyType",
    "timeInstant": "dateTime",
    "timeDuration": "duration",
    "uriReference": "anyURI",
    "CDATA": "normalizedString",
    "binary": "base64Binary",
    "any": "anyType",  # not in a draft, but in some WSDLs
}


def builtin_type(name: str) -> Type | None:
    """The built-in type of that Clark name, if there is one."""
    type_ = BUILTIN_TYPES.get(name) or ENCODING_TYPES.get(name)
    if type_ is None:
        namespace, local = split(name)
        if namespace in DRAFTS or (namespace == XSD and local in _RENAMED):
            return BUILTIN_TYPES.get(xsd(_RENAMED.get(local, local)))
    return type_
