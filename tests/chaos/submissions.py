"""What is submitted, and what must come of it; made from a seed."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["plain", "dependencies", "cancelled", "poison"]
Way = Literal["http", "http without id", "kafka", "log"]

POISON_ATTEMPTS = 3
"""How many workers a poison may kill."""
POISON_SLEEP = "3600."
"""A poison is known by what it sleeps, with its number after the dot; whoever runs it is killed."""
SPARE_S = 4.0
"""What an honest program may take longer than it sleeps, on a busy machine; a standstill may be longer."""
_WAYS: tuple[Way, ...] = ("http", "http without id", "kafka")
_KINDS: tuple[Kind, ...] = ("plain", "dependencies", "cancelled")
_CANCEL_WAYS: tuple[Literal["http", "kafka"], ...] = ("http", "kafka")
_EVERY_POISON = 100
"""One in so many submissions, and one at the start: each takes three times what a lease takes to expire."""
_EXTRAS = ("dc", "hello", "lua5.4", "jq")
"""Small packages; each subset of them, with bc, is another environment."""


@dataclass(frozen=True)
class Planned:
    """One submission."""

    number: int
    id: str
    kind: Kind
    way: Way
    request: dict[str, Any]
    stdout: str = ""
    """The right answer."""
    cancel_after_s: float = 0.0
    cancel_way: Literal["http", "kafka"] = "http"

    @property
    def run(self) -> str:
        """Its program, which tells it from all others, whatever its id."""
        return str(self.request["run"])


def submissions(seed: str) -> Iterator[Planned]:
    """Endlessly; the same for the same seed."""
    rng = random.Random(f"{seed}/submissions")
    environments = _environments(rng)
    number = 0
    while True:
        if number % _EVERY_POISON == 0:
            yield _poison(seed, number)
        else:
            yield _honest(seed, number, rng, environments)
        number += 1


def _honest(seed: str, number: int, rng: random.Random, environments: Iterator[list[str]]) -> Planned:
    id = _id(seed, number)
    way = rng.choices(_WAYS, (4, 2, 3))[0]
    kind = rng.choices(_KINDS, (80, 8, 12))[0]
    sleep_s = rng.choice((0, 0, 0.2, 1, 3))
    match kind:
        case "dependencies":
            request = {"run": f"echo {number} + 1 | bc", "dependencies": {"packages": next(environments)}}
            return Planned(number, id, kind, way, request, f"{number + 1}\n")
        case "cancelled":
            request = {"run": f"sleep 8; echo {number}", "limits": {"run": {"wall_time_s": 60}}}
            after_s, cancel_way = rng.choice((0, 0.5, 2, 10)), rng.choice(_CANCEL_WAYS)
            way = "http" if way == "http without id" else way
            return Planned(number, id, kind, way, request, f"{number}\n", after_s, cancel_way)
    request = {
        "compile": "echo compiled > it",
        "run": f"sleep {sleep_s}; cat it; echo {number}",
        "limits": {"run": {"wall_time_s": sleep_s + SPARE_S}},
    }
    return Planned(number, id, kind, way, request, f"compiled\n{number}\n")


def _poison(seed: str, number: int) -> Planned:
    run = f"exec sleep {POISON_SLEEP}{number}"
    return Planned(
        number,
        _id(seed, number),
        "poison",
        "log",
        {"run": run, "limits": {"run": {"wall_time_s": 60}}},
    )


def _id(seed: str, number: int) -> str:
    return f"chaos-{seed}-{number}"


def _environments(rng: random.Random) -> Iterator[list[str]]:
    while True:
        yield ["bc", *sorted(rng.sample(_EXTRAS, rng.randint(0, len(_EXTRAS))))]
