"""SubmissionStore: folds `submissions.events` into `submissions.store`, enqueues on `submissions.queue`."""

from processors.store.partition import END_PATIENCE_S, PATIENCE_S, StoreDefinition
from topics.aggregate import submissions
from topics.catalogue import Catalogue
from topics.submissions.facts import Compiled, DependenciesInstalled, Finished, Requested, Started


def submission_store(catalogue: Catalogue) -> StoreDefinition:
    """Return the definition that makes a StoreProcessor the SubmissionStore."""
    return StoreDefinition(
        aggregate=submissions(catalogue),
        catalogue=catalogue,
        patience_s={
            Started: PATIENCE_S,
            DependenciesInstalled: PATIENCE_S,
            Compiled: PATIENCE_S,
            Finished: END_PATIENCE_S,
            Requested: PATIENCE_S,
        },
        stops=catalogue.stops.name,
    )
