"""Looking for cycles of objects less often, in processes that make many objects and hardly any cycle."""

import gc

_THRESHOLDS = (20_000, 20, 50)
"""Python's own are (700, 10, 10), by which an ingest node spends a seventh of its CPU time on looking."""


def collect_seldom() -> None:
    """Call it once everything is there that lives as long as the process: that is never looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
