"""What compressing a JSON reply costs, by library, level and size.

    python benchmarks/compression.py [--sizes N,…]

Printed are microseconds of CPU for each body (the least of five runs), megabytes a second, and how many times smaller
it becomes. ``*`` marks what the gateway uses (`bridge.http.compression`). zlib-ng and zstandard are compared where they
are installed.
"""

from __future__ import annotations

import argparse
import json
import random
import time
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from bridge.http import compression
from bridge.http.coding import ZSTD
from bridge.http.libraries import first_module

MB = 1024 * 1024
Compress = Callable[[bytes], bytes]


def rows(size: int) -> bytes:
    """JSON as services answer it: records of names, numbers and words."""
    drawn = random.Random(1)
    words = ["alpha", "beta", "gamma", "delta", "epsilon"]
    parts: list[str] = []
    length = 0
    while length < size:
        record = {
            "id": len(parts),
            "name": f"row number {drawn.randrange(10**6)} of many",
            "sum": f"{drawn.randrange(10**6) / 100:.2f}",
            "tags": [drawn.choice(words) for _ in range(3)],
            "open": drawn.random() < 0.5,
        }
        parts.append(json.dumps(record))
        length += len(parts[-1]) + 1
    return f"[{','.join(parts)}]".encode()[:size]


def candidates() -> Iterator[tuple[str, Compress]]:
    isal: Any = first_module("isal.isal_zlib")
    zlib_ng: Any = first_module("zlib_ng.zlib_ng")
    zstandard: Any = first_module("zstandard")
    for name, library, levels in (
        ("zlib", zlib, (1, 4, 6)),
        ("isal", isal, (0, 1, 2)),
        ("zlib-ng", zlib_ng, (1, 4, 6)),
    ):
        if library is not None:
            for level in levels:
                yield f"gzip, {name} {level}", partial(_deflated, library, level)
    if ZSTD is not None:
        for level in (1, 3, 6):
            yield f"zstd, {ZSTD.__name__} {level}", partial(_zstd, level)
    if zstandard is not None:
        yield "zstd, zstandard 3", lambda body: zstandard.ZstdCompressor(level=3).compress(body)
    for coding in compression.CODINGS:
        yield f"* {coding}", partial(compression.compress, coding=coding)


def _deflated(library: Any, level: int, body: bytes) -> bytes:
    coded: bytes = library.compress(body, level, 31)
    return coded


def _zstd(level: int, body: bytes) -> bytes:
    coded: bytes = ZSTD.compress(body, level)
    return coded


def seconds(compress: Compress, body: bytes) -> float:
    times = max(1, min(300, MB // len(body)))
    least = float("inf")
    for _ in range(5):
        began = time.process_time()
        for _ in range(times):
            compress(body)
        least = min(least, (time.process_time() - began) / times)
    return least


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=f"2000,65536,{8 * MB}", help="bytes of the bodies, by commas")
    for size in map(int, parser.parse_args().sizes.split(",")):
        body = rows(size)
        print(f"{size} bytes")
        for name, compress in candidates():
            taken, coded = seconds(compress, body), len(compress(body))
            print(
                f"  {name:28} {taken * 1e6:10.0f} us {size / taken / 1e6:7.0f} MB/s {size / coded:6.2f} times smaller"
            )


if __name__ == "__main__":
    main()
