"""Functions for a role's process as a whole: its crash, and its garbage collection."""

import gc
import logging
import os
from typing import NoReturn

log = logging.getLogger(__name__)

_GC_THRESHOLDS = (20_000, 20, 50)
"""Objects until a collection of each generation.

With Python's own (700, 10, 10) an ingest node spends a seventh of its CPU time on garbage collection. The
roles make many objects and hardly any reference cycles.
"""


def crash(why: str, exit_code: int = os.EX_SOFTWARE) -> NoReturn:
    """Log the reason and end this process at once, from any thread.

    A crash is always safe: the supervisor starts the process again, and Kafka redelivers its work.
    """
    log.critical("%s: this process ends", why)
    logging.shutdown()
    os._exit(exit_code)


def tune_gc() -> None:
    """Exempt all present objects from garbage collection, and collect less often.

    Call it when everything exists that lives as long as the process.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
