"""Deletion of consumed queue records: the store processor writes the queue, so it also deletes from it.

A record below the committed offset is leased or finished (rule 4), or was redirected and stands elsewhere in
the queue. Another attempt does not need it, since the fold enqueues attempts from its state.
"""

import logging
import threading
import time

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from topics.kafka.clients import connection
from topics.kafka.scan import committed_offsets
from topics.settings import KafkaSettings
from topics.topic import Family

log = logging.getLogger(__name__)

_PERIOD_S = 60.0
_TIMEOUT_S = 30.0


def trim(settings: KafkaSettings, family: Family) -> None:
    """Delete the records of the queue that were consumed. The broker frees whole segments, minutes later.

    Raises:
        KafkaException: the broker did not delete the records of every partition.
    """
    popped = committed_offsets(settings, family.work_group, family.queue.name, _TIMEOUT_S)
    below = [TopicPartition(family.queue.name, p, offset) for p, offset in popped.items() if offset > 0]
    if not below:
        return
    admin = AdminClient(connection(settings))  # a new client: an old one may not find a restarted broker
    for deletion in admin.delete_records(below, request_timeout=_TIMEOUT_S).values():
        deletion.result()


def keep_trimmed(settings: KafkaSettings, family: Family) -> None:
    """Trim in a daemon thread, which may end with the process at any moment."""
    threading.Thread(target=_trim_for_ever, args=(settings, family), name="trim", daemon=True).start()


def _trim_for_ever(settings: KafkaSettings, family: Family) -> None:
    while True:
        try:
            trim(settings, family)
        except KafkaException as error:
            log.warning("%s is not trimmed, trying again later: %s", family.queue.name, error)
        except Exception:
            log.exception("%s is not trimmed, trying again later", family.queue.name)
        time.sleep(_PERIOD_S)
