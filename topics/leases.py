"""Records of workers, store processors and health checkers on `X.leases`, `X.slots`, `submissions.stops`."""

from typing import Annotated, Literal

from pydantic import Field

from topics.model import Model


class Lease(Model):
    """A record of `X.leases`: a worker takes, renews or releases the lease of an attempt. Key: `id`."""

    kind: Literal["taken", "renewed", "released"]
    id: str
    attempt: int
    worker: str
    """Id of the worker's process, random at each start."""


class PreparedCounts(Model):
    """Stages since the start of a worker, by whether a sandbox was prepared for them."""

    hits: int = 0
    """Stages whose sandbox was made before there was a program for it."""
    misses: int = 0
    """Stages whose sandbox was made when it was needed."""


class CapacityReport(Model):
    """A record of `X.slots`: the free slots of a worker. Key: `worker`."""

    worker: str
    partitions: tuple[int, ...]
    """Partitions of the queue that are assigned to the worker."""
    free: int
    """Number of free slots."""
    memory_bytes: Annotated[int | None, Field(exclude_if=lambda size: size is None)] = None
    """Largest memory limit of a stage, in bytes, that the worker can give; None from versions without it."""
    prepared: Annotated[PreparedCounts | None, Field(exclude_if=lambda counts: counts is None)] = None
    """Use of prepared sandboxes; None from cache builders, and from versions without it."""


class Tick(Model):
    """Tick of a health checker's clock, in the log of a partition that is assigned to it. It has no key."""

    kind: Literal["tick"] = "tick"
    mark: str
    """Random text of one assignment; leases expire only at ticks with the mark of the present assignment."""


class StopOrder(Model):
    """A record of `submissions.stops`: an order to stop attempts. Key: `id`."""

    id: str
    attempt: int
    """Number of the last attempt that must stop; all earlier ones must stop, too."""
