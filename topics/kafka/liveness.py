"""Detection of Kafka clients that lost their brokers, for a while or for good.

librdkafka forgets brokers that metadata does not list. A cluster lists none while all of its brokers come
back from a pause, or from a stall of the machine. A client that asks in this moment has no broker left to
ask. It may never connect again, without an error (confluentinc/librdkafka#5301, open with 2.16).
"""

from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from topics.kafka.reachability import OF_THIS_PROCESS

_LOOK_MS = 5000
_ANSWER_S = 1.0
_ENOUGH = 3
"""Checks in a row in which other clients found a broker and this one had none, until it counts as lost."""


class BrokersLostError(Exception):
    """The client will never connect again: replace it, or end the process."""


def with_liveness_check(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return `config` with callbacks that detect a lost client and log lost and found brokers.

    `poll` of the client fails once the client is lost. The function is for clients that are polled all
    the time; otherwise statistics pile up in memory.

    Raises:
        BrokersLostError: from `poll`, in three checks in a row only other clients found a broker.
    """
    check = _LivenessCheck(config)
    return {**config, "statistics.interval.ms": _LOOK_MS, "stats_cb": check, "error_cb": check.on_error}


class _LivenessCheck:
    """Callback for statistics (JSON, from `poll`) and errors of one client."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        kept = ("bootstrap.servers", "reconnect.backoff.max.ms", "security.", "ssl.", "sasl.")
        self._config = {n: value for n, value in config.items() if n.startswith(kept)} | {"log_level": 0}
        self._suspicions = 0
        self._why = ""

    def on_error(self, error: KafkaError) -> None:
        """Take an error; `poll` calls this repeatedly while a broker is away."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            OF_THIS_PROCESS.lost(self, self._config["bootstrap.servers"], self._why)
        else:
            self._why = error.str().partition(" (after ")[0]

    def __call__(self, statistics: str) -> None:
        is_up = '"state":"UP"' in statistics
        if is_up:
            OF_THIS_PROCESS.found(self)
        if is_up or not self._others_find_brokers():
            self._suspicions = 0
            return
        self._suspicions += 1
        if self._suspicions >= _ENOUGH:
            raise BrokersLostError("the client has lost its brokers, though others find them")

    def _others_find_brokers(self) -> bool:
        try:
            return bool(AdminClient(self._config).list_topics(timeout=_ANSWER_S).brokers)
        except KafkaException:
            return False
