"""The two event-sourced aggregates, submissions and environments: everything by which they differ.

The store processors fold an aggregate's events, the health checkers end its attempts, and audits replay it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from topics.catalogue import Catalogue
from topics.dependencies import facts as dependencies_facts
from topics.dependencies import fold as dependencies_fold
from topics.dependencies import state as dependencies_state
from topics.fold import Enqueue, Folded, Owed, Recorded
from topics.model import Model
from topics.submissions import facts as submissions_facts
from topics.submissions import fold as submissions_fold
from topics.submissions import state as submissions_state
from topics.topic import Family


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Topics, facts, states and fold of one aggregate."""

    name: str
    """First word of the names of its topics: `submissions` or `dependencies`."""
    noun: str
    """Second word of the types of its CloudEvents: `submission` or `dependencies`."""
    family: Family
    facts: Mapping[str, type[Model]]
    """Models of the facts by the CloudEvents types of their records."""
    state: type[submissions_state.Submission] | type[dependencies_state.EnvironmentState]
    """Model of the rows of the store."""
    fold_version: int
    """Version of the fold, which stands in each row."""
    apply: Callable[[Any, Recorded[Any]], Folded[Any]]
    """The fold: from a state and a fact to the next state and its effects."""
    owed: Callable[[Any], Owed | None]
    """From a state to the dispatch of its attempt, if the store processor owes it to the queue; else None."""
    enqueue: Callable[[Any], Enqueue]
    """From an unfinished state to the effect that enqueues its attempt."""
    lease_expired: type[submissions_facts.LeaseExpired] | type[dependencies_facts.LeaseExpired]
    """Model of the fact that a health checker publishes."""


def submissions(catalogue: Catalogue) -> Aggregate:
    """Return the aggregate of submissions, on the topics of this catalogue."""
    return Aggregate(
        name="submissions",
        noun="submission",
        family=catalogue.submissions,
        facts=submissions_facts.FACTS,
        state=submissions_state.Submission,
        fold_version=submissions_state.FOLD_VERSION,
        apply=submissions_fold.apply,
        owed=submissions_fold.owed,
        enqueue=submissions_fold.enqueue,
        lease_expired=submissions_facts.LeaseExpired,
    )


def dependencies(catalogue: Catalogue) -> Aggregate:
    """Return the aggregate of sets of dependencies, on the topics of this catalogue."""
    return Aggregate(
        name="dependencies",
        noun="dependencies",
        family=catalogue.dependencies,
        facts=dependencies_facts.FACTS,
        state=dependencies_state.EnvironmentState,
        fold_version=dependencies_state.FOLD_VERSION,
        apply=dependencies_fold.apply,
        owed=lambda _: None,
        enqueue=dependencies_fold.enqueue,
        lease_expired=dependencies_facts.LeaseExpired,
    )


def aggregates(catalogue: Catalogue) -> tuple[Aggregate, Aggregate]:
    """Return both aggregates of one system."""
    return submissions(catalogue), dependencies(catalogue)
