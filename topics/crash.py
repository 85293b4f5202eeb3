"""Ending a process that cannot do its work any more: a crash is always safe, and somebody starts it again."""

import logging
import os
from typing import NoReturn

log = logging.getLogger(__name__)


def crash(why: str) -> NoReturn:
    """End this process at once, from whichever thread, with exit code 70 (EX_SOFTWARE)."""
    log.critical("%s: this process ends", why)
    logging.shutdown()
    os._exit(os.EX_SOFTWARE)
