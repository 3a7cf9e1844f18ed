"""How long small calls take while the same gateway translates messages of 8 MB, one after another.

    python benchmarks/beside_large.py [--only NAME,…] [--rounds N] [--seconds N] [--json FILE]

A few clients ask for something small all the time, at a pace that leaves the gateway mostly idle. Each round measures
their latency three times for each case:

    alone    nothing else is asked for
    beside   another gateway process translates the large messages: what the machine's two cores and the clients cost
    within   this gateway translates them

Printed are the medians over the rounds: the 50th and 99th percentile of each, the ratios of the 99th to that of alone,
in parentheses the least and greatest of the rounds, how many megabytes a second were translated meanwhile, and the
longest time that the loop did not turn, in CPU milliseconds of the process: within, and in parentheses alone. Ratios of
one round are comparable, if nothing else needs the machine; CPU time does not grow with what it gives to others. The
large messages come from a process of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.large_messages import CASES, ENDED, MB, Case, Gateway, gateway, post, rpc, small_calls

SIZE = 8 * MB - 100
QUANTILES = (0.5, 0.99)


def wide_rows(size: int) -> bytes:
    """JSON whose values cost less memory than a request may take."""
    row = b'{"Id":%d,"Name":"row number %d of many, with a text that is as long as a line of an address","Sum":"12.50"}'
    count = size // len(row % (100000, 100000))
    return b'{"Row":[%s]}' % b",".join([row % (number, number) for number in range(count)])


def wide_items(size: int) -> bytes:
    item = b'{"name":"item number %d of many, with a text that is as long as a line of an address","number":"%d"}'
    count = size // len(item % (100000, 100000))
    return b'{"items":[%s]}' % b",".join([item % (number, number) for number in range(count)])


def named(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


KINDS = {
    "SOAP to JSON": named("a SOAP reply"),
    "JSON to SOAP": Case("rows", SIZE, post("/soap-in", wide_rows), ENDED),
    "XML to JSON": named("an XML reply"),
    "JSON to gRPC": rpc("items", SIZE, ENDED, method="Many", made=wide_items),
}


def quantile(taken: list[float], share: float) -> float:
    return sorted(taken)[min(len(taken) - 1, int(len(taken) * share))]


async def ask_on(name: str, port: int) -> None:
    """Ask for large messages until this process is killed, and print a dot for each answer."""
    case = KINDS[name]
    while True:
        status, _ = await case.ask(port, SIZE)
        if status not in case.status:
            raise AssertionError(f"{name}: {status}")
        print(".", flush=True)


@contextlib.contextmanager
def asking(name: str, port: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "benchmarks.beside_large", "--ask", name, str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        if not process.stdout.readline():  # the first one has been answered: all is warm
            raise AssertionError(f"{name} was not answered")
        try:
            yield process
        finally:
            process.kill()


async def latency(port: int, seconds: float) -> list[float]:
    stop = asyncio.Event()
    calls = asyncio.create_task(small_calls(port, stop, pause=0.005))
    await asyncio.sleep(seconds)
    stop.set()
    return await calls


def measure(name: str, own: Gateway, other: Gateway, seconds: float) -> dict[str, list[float]]:
    """Percentiles in seconds by condition; ``rate`` is in bytes a second, within, and ``turns`` are CPU seconds, alone
    and within."""
    own.told()
    taken = {"alone": asyncio.run(latency(own.port, seconds))}
    rate, turns = 0.0, [own.told()["cpu"]]
    for condition, asked in (("beside", other), ("within", own)):
        with asking(name, asked.port) as process:
            own.told()
            began = time.perf_counter()
            taken[condition] = asyncio.run(latency(own.port, seconds))
            elapsed = time.perf_counter() - began
            process.kill()
            turns.append(own.told()["cpu"])
            assert process.stdout is not None
            rate = len(process.stdout.read().split()) * SIZE / elapsed
    result = {condition: [quantile(each, share) for share in QUANTILES] for condition, each in taken.items()}
    return {**result, "rate": [rate], "turns": [turns[0], turns[2]]}


def show(name: str, rounds: list[dict[str, list[float]]]) -> None:
    cells = []
    for condition in ("alone", "beside", "within"):
        p50, p99 = (statistics.median(each[condition][at] for each in rounds) * 1000 for at in range(2))
        cells.append(f"{p50:6.2f} /{p99:7.2f}")
    for condition in ("beside", "within"):
        ratios = sorted(each[condition][1] / each["alone"][1] for each in rounds)
        cells.append(f"{statistics.median(ratios):5.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f})")
    rate = statistics.median(each["rate"][0] for each in rounds) / MB
    alone, within = (statistics.median(each["turns"][at] for each in rounds) * 1000 for at in range(2))
    cells.append(f"{rate:.1f}")
    print(f"{name:13} {' '.join(f'{cell:>17}' for cell in cells)} {within:9.1f} ({alone:.1f})", flush=True)


def main() -> None:
    if sys.argv[1:2] == ["--ask"]:
        asyncio.run(ask_on(sys.argv[2], int(sys.argv[3])))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases whose name holds one of these, by commas")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--json", type=Path, help="writes all figures")
    parser.add_argument("--before", default="", help="Python that the gateways' processes run first")
    given = parser.parse_args()
    names = [name for name in KINDS if any(part in name for part in given.only.split(","))]
    head = ("alone p50/p99 ms", "beside", "within", "beside/alone", "within/alone", "MB/s", "turn CPU ms")
    print(f"{'8 MB':13} {' '.join(f'{cell:>17}' for cell in head)}")
    figures: dict[str, list[dict[str, list[float]]]] = {}
    for name in names:
        answers = {KINDS[name].answer: float(SIZE)}
        with (
            tempfile.TemporaryDirectory() as one,
            tempfile.TemporaryDirectory() as two,
            gateway(Path(one), answers, given.before) as own,
            gateway(Path(two), answers, given.before) as other,
        ):
            figures[name] = [measure(name, own, other, given.seconds) for _ in range(given.rounds)]
        show(name, figures[name])
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
