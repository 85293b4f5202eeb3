"""SubmissionStore: folds `submissions.events` into `submissions.store`, enqueues on `submissions.queue`."""

from processors.store.partition import END_PATIENCE_S, PATIENCE_S, Aggregate
from topics.catalogue import Catalogue
from topics.submissions.facts import FACTS, Compiled, DependenciesInstalled, Finished, Requested, Started
from topics.submissions.fold import apply
from topics.submissions.state import FOLD_VERSION, Submission


def submission_store(catalogue: Catalogue) -> Aggregate:
    """Return the aggregate that makes a StoreProcessor the SubmissionStore."""
    return Aggregate(
        name=catalogue.submissions.store_group,
        subject="submission",
        family=catalogue.submissions,
        catalogue=catalogue,
        facts=FACTS,
        state=Submission,
        fold_version=FOLD_VERSION,
        apply=apply,
        patience_s={
            Started: PATIENCE_S,
            DependenciesInstalled: PATIENCE_S,
            Compiled: PATIENCE_S,
            Finished: END_PATIENCE_S,
            Requested: PATIENCE_S,
        },
        stops=catalogue.stops.name,
    )
