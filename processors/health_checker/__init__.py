"""WorkerHealthChecker and CacheBuilderHealthChecker: they say which attempts nobody works on any more."""

from typing import Literal

from processors.health_checker.app import HealthChecker, watched
from processors.health_checker.settings import HealthCheckerSettings
from topics.catalogue import catalogue
from topics.settings import KafkaSettings

__all__ = ["HealthCheckerSettings", "run"]


def run(
    kafka: KafkaSettings, settings: HealthCheckerSettings, of: Literal["submissions", "dependencies"]
) -> None:
    """Work until SIGTERM or SIGINT, in a process of its own; the topics must exist.

    Logs to whatever the root logger does. Ends the process with a code other than 0 when it wants to be
    started again, as a supervisor always must: Faust may get stuck after a rebalance.

    Raises:
        SystemExit: always, at the end.
    """
    HealthChecker(kafka, settings, watched(of, catalogue(kafka))).run()
