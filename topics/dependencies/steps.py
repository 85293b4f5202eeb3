"""Steps of builds that still run (`dependencies.steps`), keyed by the id of the dependencies.

They are a preview: steps may be missing, and no fold reads them. The state of the environment has its end.
"""

from typing import Literal

from topics.model import Model

STEP = "envicutor.dependencies.step.v1"
"""CloudEvents type of a step of a build."""


class BuildStep(Model):
    """The present step of the build of an environment."""

    stage: Literal["evaluating", "resolving", "fetching", "unpacking", "building", "publishing"]
    """Stage of the build: `evaluating` (an expression becomes a list of packages), `resolving` (packages of
    PyPI or npm become a list of archives), `fetching` (archives are downloaded), `unpacking` (archives that
    the host has not unpacked before), `building` (the environment is made of them), `publishing` (it is
    copied into the binary cache). Stages begin in this order, and those without work are left out. `fetching`
    and `unpacking` alternate, since archives are unpacked while others are downloaded."""
    done: int = 0
    """Number of archives of this stage that are finished; 0 if the stage does not count."""
    total: int = 0
    """Number of archives of this stage; 0 if the stage does not count."""

    def __str__(self) -> str:
        """Return the step for people, such as `fetching 12 of 55`, or `building`."""
        return f"{self.stage} {self.done} of {self.total}" if self.total else str(self.stage)


class BuildProgress(Model):
    """A step of one attempt to build an environment."""

    attempt: int
    """Number of the attempt, from 1; a new attempt starts from the beginning."""
    builder: str
    """Name of the cache builder process. Two builders may run the same attempt."""
    step: BuildStep
    """The step that the attempt has reached."""
