"""Commits of the offsets of a queue, on a client without a broker."""

import asyncio
from collections.abc import Mapping

from confluent_kafka import KafkaError, KafkaException
from typing_extensions import override

from processors.queue.commits import COMMIT_LINGER_S, OffsetCommitter
from processors.queue.offsets import Delivery, Offsets
from tests.unit.processors.test_attempts import NoConsumer, work
from topics.submissions.state import Work

WORK = work("0.0")


class FailsOnce(NoConsumer):
    """A client whose first commit is refused."""

    @override
    async def commit(self, offsets: Mapping[int, int]) -> Mapping[int, int]:
        await super().commit(offsets)
        if len(self.commits) == 1:
            raise KafkaException(KafkaError(KafkaError.REBALANCE_IN_PROGRESS))
        return offsets


def test_a_commit_that_failed_is_repeated_without_more_work() -> None:
    async def test() -> None:
        client, offsets = FailsOnce(), Offsets[Work]()
        committer = OffsetCommitter(client, offsets, "q")
        offsets.add(Delivery(0, 7, WORK, settled=True))
        await committer.commit()
        assert not offsets.is_empty
        await asyncio.sleep(3 * COMMIT_LINGER_S)
        assert offsets.is_empty
        assert client.commits == [{0: 8}, {0: 8}]

    asyncio.run(asyncio.wait_for(test(), 30))
