"""BuildStore: folds `dependencies.events` into `dependencies.store`, enqueues on `dependencies.queue`."""

from processors.store.commit_policy import LINGER_S
from processors.store.partition import StoreDefinition
from topics.aggregate import dependencies
from topics.catalogue import Catalogue
from topics.dependencies.facts import Started


def build_store(catalogue: Catalogue) -> StoreDefinition:
    """Return the definition that makes a StoreProcessor the BuildStore."""
    return StoreDefinition(
        aggregate=dependencies(catalogue),
        catalogue=catalogue,
        lingers_s={Started: LINGER_S},
        stops=None,
    )
