from __future__ import annotations

import gc
import linecache
import traceback
from typing import Any

import pytest

from bridge.payload.codegen import define_function


def test_a_function_and_its_globals() -> None:
    namespace: dict[str, Any] = {"factor": 3}
    scale = define_function("scale(x, y=1)", ["z = x * factor", "return z + y"], namespace, filename="scale")
    assert scale(2) == 7
    assert namespace["scale"] is scale


def test_tracebacks_show_the_generated_line() -> None:
    divide = define_function("divide(a, b)", ["if b is None:", "    return a", "return a / b"], {}, filename="divide")
    with pytest.raises(ZeroDivisionError) as caught:
        divide(1, 0)
    frame = traceback.extract_tb(caught.tb)[-1]
    assert (frame.name, frame.lineno, frame.line) == ("divide", 4, "return a / b")
    assert frame.filename.startswith("generated: divide ")


def test_two_of_one_label_are_told_apart() -> None:
    both = [define_function("f()", [f"return {n} / 0"], {}, filename="f") for n in (1, 2)]
    shown = []
    for function in both:
        with pytest.raises(ZeroDivisionError) as caught:
            function()
        shown.append(traceback.extract_tb(caught.tb)[-1].line)
    assert shown == ["return 1 / 0", "return 2 / 0"]


def test_the_source_goes_with_the_function() -> None:
    namespace: dict[str, Any] = {}
    function = define_function("f()", ["return 1"], namespace, filename="f")
    label = function.__code__.co_filename
    assert linecache.getline(label, 2) == "    return 1\n"
    del function
    namespace.clear()
    gc.collect()
    assert label not in linecache.cache
