"""SubmissionStore: folds `submissions.events` into `submissions.store`, enqueues on `submissions.queue`."""

from processors.store.commit_policy import LINGER_S
from processors.store.partition import StoreDefinition
from topics.aggregate import submissions
from topics.catalogue import Catalogue
from topics.submissions.facts import Compiled, DependenciesInstalled, Finished, Requested, Started


def submission_store(catalogue: Catalogue) -> StoreDefinition:
    """Return the definition that makes a StoreProcessor the SubmissionStore."""
    return StoreDefinition(
        aggregate=submissions(catalogue),
        catalogue=catalogue,
        lingers_s={
            Started: LINGER_S,
            DependenciesInstalled: LINGER_S,
            Compiled: LINGER_S,
            Finished: LINGER_S,
            Requested: LINGER_S,
        },
        stops=catalogue.stops.name,
        takes_turns=True,
    )
