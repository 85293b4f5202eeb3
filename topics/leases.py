"""What workers and health checkers say to each other on `X.leases` and `submissions.stops`."""

from typing import Literal

from topics.model import Model


class Lease(Model):
    """A worker says that it holds, still holds, or no longer holds an attempt. Key: the id."""

    kind: Literal["taken", "renewed", "released"]
    id: str
    attempt: int
    worker: str
    """Fresh at every start of a process."""


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


class PackageSetInForce(Model):
    """A record of `package-sets`. Key: the name."""

    name: str
    pin: str
    index_digest: str
    created_at: str
