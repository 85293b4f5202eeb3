"""A seeded search for the request that costs most for its bytes, over the grammar of `costly_requests`.

A request is a place with room for items, and items of one kind: that many of them, or as many as there is
room for. The search changes one of these at a time, and keeps what costs more CPU time.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from confluent_kafka import Message

from processors.request_records import handle
from tests.support.costly_requests import fill, ordinary
from tests.support.submissions import PINS
from topics.request.limits import MiB

X = '{"run":"x",'
PLACES = {
    **{f'{X}"{name}":[': "]}" for name in ("tags", "test_cases", "files", "unknown")},
    **{f'{X}"{name}":{{': "}}" for name in ("env", "limits", "dependencies", "unknown")},
    **{f'{X}"dependencies":{{"{name}":[': "]}}" for name in ("packages", "pypi", "npm")},
    **{f'{X}"test_cases":[{{"{name}":[': "]}]}" for name in ("args", "files")},
    f'{X}"files":[{{': "}]}",
    f'{X}"limits":{{"run":{{': "}}}",
    '{"run":[': "]}",
    X: "}",
}
"""What begins a request, and what ends it."""
ATOMS = ("0", "1e9", "-0.1", "true", "null", '""', '"a"', '"{:x}"', '"../{:x}"', r'"\u0001"', r'"\ud800"')
NAMES = (
    "",
    "a",
    "a{:x}",
    "{:x}",
    "name",
    "content",
    "encoding",
    "input",
    "args",
    "expected_output",
    "run",
    "id",
)
MOST = (1, 32, 200, 1_000, 4_096, 8_000, 30_000, None)
"""How many items there may be; None for as many as there is room for."""
_KEPT = 12


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of request."""

    place: str
    item: str
    most: int | None

    def request(self, size: int) -> bytes:
        """Return the request of at most `size` bytes; `{:x}` in the item is its number."""

        def item(number: int) -> str:
            return self.item.replace("{:x}", f"{number:x}")

        return fill(size, self.place, item, PLACES[self.place], self.most)


def any_value(chance: random.Random, depth: int = 0) -> str:
    """Return a value: an atom, a repeated one, or a container of values."""
    kind = chance.choice("aaarlo" if depth < 3 else "aar")
    if kind == "l":
        return f"[{','.join(any_value(chance, depth + 1) for _ in range(chance.choice((0, 1, 3, 30))))}]"
    if kind == "o":
        return f"{{{','.join(any_member(chance, depth + 1) for _ in range(chance.choice((0, 1, 3, 30))))}}}"
    atom = chance.choice(ATOMS)
    return f'"{"a" * chance.choice((8, 64, 512))}"' if kind == "r" else atom


def any_member(chance: random.Random, depth: int = 0) -> str:
    """Return a name and a value."""
    return f'"{chance.choice(NAMES)}":{any_value(chance, depth)}'


def any_item(chance: random.Random, place: str) -> str:
    """Return an item that the place has room for."""
    return any_value(chance) if place.endswith("[") else any_member(chance)


def mutated(shape: Shape, chance: random.Random) -> Shape:
    """Return a shape that differs in one respect; another place may need another item."""
    match chance.choice(("place", "item", "item", "most", "repeat")):
        case "place":
            place = chance.choice([*PLACES])
            same = place[-1] == shape.place[-1]
            return Shape(place, shape.item if same else any_item(chance, place), shape.most)
        case "item":
            return replace(shape, item=any_item(chance, shape.place))
        case "most":
            return replace(shape, most=chance.choice(MOST))
        case _:
            return replace(shape, item=f"{shape.item},{any_item(chance, shape.place)}"[:2_000])


def cpu_s(value: bytes, tries: int = 2) -> float:
    """Return the least CPU time that it takes to handle a record."""
    took_s = []
    for _ in range(tries):
        started = time.process_time()
        handle(Message("requests", 0, 0, b"a", value, []), PINS, MiB)
        took_s.append(time.process_time() - started)
    return min(took_s)


def search(size: int, steps: int, seed: int, found: Callable[[float, Shape], None]) -> float:
    """Return how many times the CPU time of an ordinary request the worst one takes; tell `found` of each."""
    chance = random.Random(seed)
    usual_s = cpu_s(ordinary(size - 2), 10)
    kept: list[tuple[float, Shape]] = []
    for step in range(steps):
        if step < steps // 5 or not kept:
            place = chance.choice([*PLACES])
            shape = Shape(place, any_item(chance, place), chance.choice(MOST))
        else:
            shape = mutated(chance.choice(kept)[1], chance)
        request = shape.request(size)
        ratio = cpu_s(request) / usual_s
        if not kept or ratio > kept[0][0]:  # nothing is found because the machine was busy
            ratio = min(ratio, cpu_s(request, 5) / cpu_s(ordinary(size - 2), 5))
            if not kept or ratio > kept[0][0]:
                found(ratio, shape)
        kept = sorted({*kept, (ratio, shape)}, key=lambda each: -each[0])[:_KEPT]
    return kept[0][0]
