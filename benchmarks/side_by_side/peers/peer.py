"""What the bench asks of each gateway."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from benchmarks.side_by_side.process import Process

HERE = Path(__file__).parent
INSTALL_PATIENCE = 900.0  # seconds for what a package manager does at first


class Absent(Exception):
    """A peer that can't be had here; says why in a sentence."""


@dataclass(frozen=True)
class Guards:
    """What every gateway's guards are told: one token, and the key that it is verified with, in two forms.

    :ivar pem: the public key's file.
    :ivar jwks: the same as a JSON Web Key Set.
    """

    token: str
    pem: Path
    jwks: str
    issuer: str
    audience: str


@dataclass(frozen=True)
class Setup:
    """One start of one gateway.

    :ivar folder: empty, its own.
    :ivar cache: below ``.bench``, where `Peer.install` has put things.
    :ivar guards: None where it runs bare.
    :ivar descriptors: the descriptor set of ``contracts/orders.proto``.
    """

    folder: Path
    cache: Path
    core: int
    port: int
    http: int
    grpc: int
    descriptors: Path
    guards: Guards | None

    @property
    def log(self) -> Path:
        """The access log, where guards are on."""
        return self.folder / "access.log"


class Peer(ABC):
    """A gateway that can be installed and started.

    :cvar name: what ``--peer`` calls it.
    :cvar title: as the table calls it.
    :cvar cases: names of the cases that it takes part in.
    :cvar warmup: seconds of load before anything counts.
    :cvar warm_requests: requests that it has answered before anything counts: what a JIT compiler wants to have seen.
    :cvar modes: whether it runs with guards, without, or both.
    :cvar guarded: what stands for the token, the limit and the log where guards are on.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    cases: ClassVar[frozenset[str]]
    warmup: ClassVar[float] = 2.0
    warm_requests: ClassVar[int] = 0
    modes: ClassVar[frozenset[bool]] = frozenset((True, False))
    guarded: ClassVar[str]

    @abstractmethod
    def install(self, cache: Path) -> str:
        """Put what is missing into `cache`; its version in words.

        :raises Absent: it can't be had.
        """

    @abstractmethod
    def start(self, setup: Setup) -> Process:
        """Start it; it listens when this returns.

        :raises RuntimeError: it doesn't.
        """


def run(command: Sequence[str], folder: Path, env: Mapping[str, str] | None = None) -> str:
    """What `command` prints in `folder`.

    :raises Absent: it is not here, failed, or took too long; with the last that it said.
    """
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=None if env is None else dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=INSTALL_PATIENCE,
            check=False,
        )
    except FileNotFoundError:
        raise Absent(f"{command[0]} is not here") from None
    except subprocess.TimeoutExpired:
        raise Absent(f"{' '.join(command[:3])} took more than {INSTALL_PATIENCE:.0f} s") from None
    if done.returncode:
        said = " ".join(done.stdout.split())
        raise Absent(f"{' '.join(command[:3])} ended with {done.returncode}: …{said[-300:]}")
    return done.stdout
