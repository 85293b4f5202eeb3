"""The two aggregates that can be audited: submissions and sets of dependencies."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from topics.catalogue import Catalogue, Family
from topics.dependencies import facts as dependencies_facts
from topics.dependencies import fold as dependencies_fold
from topics.dependencies.state import EnvironmentState
from topics.fold import Folded, Recorded
from topics.model import Model
from topics.submissions import facts as submissions_facts
from topics.submissions import fold as submissions_fold
from topics.submissions.state import Submission


@dataclass(frozen=True, slots=True)
class Subject:
    """One family of topics, and everything by which its audit differs from that of the other family."""

    name: str
    family: Family
    facts: Mapping[str, type[Model]]
    state: type[Submission] | type[EnvironmentState]
    apply: Callable[[Any, Recorded[Any]], Folded[Any]]
    lease_expired: type[submissions_facts.LeaseExpired] | type[dependencies_facts.LeaseExpired]


def subjects(catalogue: Catalogue) -> tuple[Subject, Subject]:
    """Return the two subjects of one system."""
    return (
        Subject(
            name="submissions",
            family=catalogue.submissions,
            facts=submissions_facts.FACTS,
            state=Submission,
            apply=submissions_fold.apply,
            lease_expired=submissions_facts.LeaseExpired,
        ),
        Subject(
            name="dependencies",
            family=catalogue.dependencies,
            facts=dependencies_facts.FACTS,
            state=EnvironmentState,
            apply=dependencies_fold.apply,
            lease_expired=dependencies_facts.LeaseExpired,
        ),
    )
