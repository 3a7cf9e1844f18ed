"""An election night through HMS Bridge: a SOAP service, a gRPC service and an XML feed, read as JSON.

    make demo              # or: python examples/election_night/demo.py [--port 8080] [--once]

Starts the three services and the gateway, makes one real call of each kind and one that is refused, and prints the
messages on both sides. With ``--once`` it then exits, with 0 only if every reply was correct; otherwise it runs until
Ctrl-C.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType

import httpx
from presenter import Presenter
from processes import Children, DemoError, free_port
from scenario import SCENES, play
from stage import Stage

from bridge.wording import counted


def _leave(number: int, _: FrameType | None) -> None:
    """SIGTERM and a closed terminal end the demo like Ctrl-C, which leaves every `with`."""
    sys.exit(128 + number)


def run(wanted: str, once: bool, show: Presenter) -> int:
    """Run the whole demo; returns the exit status.

    :raises DemoError: something could not be started, or ended unexpectedly.
    """
    port = free_port(wanted)
    show.title("HMS Bridge: an election night in the State of Tamarack")
    with tempfile.TemporaryDirectory(prefix="hms-bridge-demo-") as folder, Children(Path(folder)) as children:
        stage = Stage(Path(folder), children, port)
        with show.step("three services of the old school") as details:
            for name, kind, at in stage.start_services():
                details.append(f"{name.partition(':')[0]:<16}{kind:<18}127.0.0.1:{at}")
        with show.step("the gateway in front of them") as details:
            details.append(f"{counted(stage.start_gateway(), 'route')} from routes/*.yml on {stage.url}")
        with show.step("tokens of the gateway's local issuer") as details:
            tokens = stage.tokens()
            details.append("a citizen's, a clerk's and a publisher's")
        wrong = 0
        with httpx.Client(base_url=stage.url, timeout=10) as client:
            client.get("/-/health/live")  # opens the connection, so that it is not timed
            for scene in SCENES:
                played = play(scene, stage, client, tokens)
                show.scene(played)
                wrong += bool(played.faults)
        show.say()
        if wrong:
            show.say(f"✗ {wrong} of {counted(len(SCENES), 'call')} went wrong.", style="bold red")
        else:
            show.say(f"✓ All {len(SCENES)} calls went as they should.", style="bold green")
        if not once:
            stay(stage, children, tokens, show)
        return 1 if wrong else 0


def stay(stage: Stage, children: Children, tokens: dict[str, str], show: Presenter) -> None:
    """Print the addresses, the tokens and commands to paste, and run until Ctrl-C."""
    show.say()
    show.whole(f"  docs        {stage.url}/-/docs")
    show.whole(f"  console     {stage.url}/-/console")
    show.whole(f"  openapi     {stage.url}/-/openapi.json")
    show.say("  routes      routes/*.yml: change one, and the change is live")
    show.whole(f"  home        {stage.home}")
    show.whole(f"  access log  {stage.access_log}")
    show.say()
    show.say("Tokens, valid for 12 hours. The console takes the publisher's:")
    for holder, token in tokens.items():
        show.say()
        show.whole(f"{holder:<9} {token}")
    show.say()
    show.say("Try it in another terminal:")
    show.say()
    show.whole(f'curl -s {stage.url}/v1/returns/91003 -H "Authorization: Bearer {tokens["citizen"]}"')
    show.say()
    show.say("More tokens:")
    show.say()
    show.whole(f"{stage.token_command} --audience ELECTION_PUBLIC")
    show.say()
    show.say("Ctrl-C ends everything.", style="dim")
    show.say("What the gateway reports, such as a fault in a route file, appears below.", style="dim")
    try:
        while True:
            for _ in children.waiting(60):
                for line in stage.news():
                    show.report(line)
    except (KeyboardInterrupt, SystemExit):
        stage.stop_gateway(show.report)
        raise


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", default="8080", help="the gateway's, on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--once", action="store_true", help="end after the calls; 0 only when every one was right")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGHUP, _leave)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells let background jobs ignore it
    show = Presenter()
    try:
        return run(arguments.port, arguments.once, show)
    except DemoError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        show.say()
        show.say("Everything has been ended.", style="dim")
        return 0


if __name__ == "__main__":
    sys.exit(main())
