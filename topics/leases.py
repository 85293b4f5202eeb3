"""What workers and health checkers say to each other on `X.leases`, `X.slots` and `submissions.stops`."""

from typing import Annotated, Literal

from pydantic import Field

from topics.model import Model


class Lease(Model):
    """A worker says that it holds, still holds, or no longer holds an attempt. Key: the id."""

    kind: Literal["taken", "renewed", "released"]
    id: str
    attempt: int
    worker: str
    """Fresh at every start of a process."""


class Room(Model):
    """A worker says how much it could begin now. A record of `X.slots`; key: the worker."""

    worker: str
    partitions: tuple[int, ...]
    """Of the queue, those that it owns: what is appended to one of them comes to it."""
    free: int
    memory_bytes: Annotated[int | None, Field(exclude_if=lambda size: size is None)] = None
    """The largest memory limit of a stage that the worker can hold; None from versions without this field."""


class Tick(Model):
    """A health checker's own clock in the log of a partition that it owns. No key."""

    kind: Literal["tick"] = "tick"
    mark: str
    """Random, made at the assignment: only one's own present mark is judged on."""


class StopOrder(Model):
    """A record of `submissions.stops`. Key: the id."""

    id: str
    attempt: int
    """This and every earlier attempt must stop."""
