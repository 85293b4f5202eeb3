"""Noticing that a Kafka client has lost its brokers, for a while or for good.

librdkafka forgets brokers that metadata does not list. A cluster lists none while all of its brokers come
back from a pause, or from a stall of the machine; a client that asks in this moment has nobody left to ask,
and may never connect again, nor say so (confluentinc/librdkafka#5301, open with 2.16).
"""

from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from topics.kafka.reachability import OF_THIS_PROCESS

_LOOK_MS = 5000
_ANSWER_S = 1.0
_ENOUGH = 3
"""So many looks in a row at which others found a broker and this client had none: it has had its time."""


class BrokersLostError(Exception):
    """The client will never connect again: put another in its place, or end the process."""


def with_liveness_check(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a client whose `poll` raises BrokersLostError once the client is lost.

    It also logs when the client loses its brokers and finds them again.

    Only for clients that are polled all the time: what they are to look at piles up otherwise.
    """
    check = _LivenessCheck(config)
    return {**config, "statistics.interval.ms": _LOOK_MS, "stats_cb": check, "error_cb": check.on_error}


class _LivenessCheck:
    """Called by `poll`, with statistics as JSON."""

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
