"""BuildStore: folds `dependencies.events` into `dependencies.store`, enqueues on `dependencies.queue`."""

from processors.store.partition import PATIENCE_S, Aggregate
from topics.catalogue import Catalogue
from topics.dependencies.facts import FACTS, Started
from topics.dependencies.fold import apply
from topics.dependencies.state import FOLD_VERSION, EnvironmentState


def build_store(catalogue: Catalogue) -> Aggregate:
    """Return the aggregate that makes a StoreProcessor the BuildStore."""
    return Aggregate(
        name=catalogue.dependencies.store_group,
        subject="dependencies",
        family=catalogue.dependencies,
        catalogue=catalogue,
        facts=FACTS,
        state=EnvironmentState,
        fold_version=FOLD_VERSION,
        apply=apply,
        patience_s={Started: PATIENCE_S},
        stops=None,
    )
