"""Functions whose source is generated when a route is bound."""

from __future__ import annotations

import linecache
from collections.abc import Callable, Iterable
from functools import partial
from itertools import count
from typing import Any
from weakref import finalize

_numbers = count(1)


def define_function(head: str, body: Iterable[str], namespace: dict[str, Any], *, filename: str) -> Callable[..., Any]:
    """The function that ``def <head>:`` and the lines of `body` define, put into `namespace`, which are its globals.

    Tracebacks show its source lines, for as long as the function exists. The source must hold nothing that a message or
    a schema's author chose, other than as a literal made by ``repr`` or a name that was checked.

    :param head: name and parameters: ``read(value)``.
    :param body: not indented.
    :param filename: what tracebacks show in place of a file, with a number after it.
    """
    source = "\n    ".join((f"def {head}:", *body))
    label = f"generated: {filename} {next(_numbers)}"
    exec(compile(source, label, "exec"), namespace)  # noqa: S102  # only generated source; see above
    function: Callable[..., Any] = namespace[head.partition("(")[0]]
    # A function that gives the source, cut into lines when they are shown: each as a string takes twice the memory.
    linecache.cache[label] = (partial(str, source),)
    finalize(function, linecache.cache.pop, label, None).atexit = False
    return function
