"""What an import command gives beside the text of its spec."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class ImportOutput:
    """What ``hms-bridge import`` writes and tells beside a spec. A transformer adds to it in `Importing.import_spec`;
    nothing is written before the import has succeeded.

    :ivar saves: whether `files` are written (``import -o``). The spec then refers to them by their new names. Otherwise
        the spec is only printed, and contracts stay where they are.
    :ivar replaces: whether files of the same name may be replaced (``--force``).
    :ivar files: content by path below the gateway's home, with slashes: ``wsdl/vat.wsdl``.
    :ivar addresses: ``host:port`` of the service, an IPv6 address in brackets; the likeliest first.
    """

    saves: bool = False
    replaces: bool = False
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    addresses: list[str] = field(default_factory=list[str])
