"""Store processors with a few lines replaced: patches of what ships, each of which breaks rule 2 somehow."""

from collections.abc import Collection

from typing_extensions import override

from tests.simulator.mutant import PLAN, Mutant
from tests.simulator.patches import Patch
from tests.simulator.virtual.consumer import VirtualConsumer
from tests.simulator.world import Protocol

_PROCESSOR = "processors.store.processor"
_RESTORE = "processors.store.restore"
_POLICY = "processors.store.commit_policy"


class UncommittedConsumer(VirtualConsumer):
    """Does not wait for the offsets of open transactions: `isolation.level` is `read_uncommitted`."""

    @override
    async def committed(self, partitions: Collection[int]) -> dict[int, int]:
        call = self._client.call(lambda: self._group.committed(partitions, stable=False))
        return dict(await self._loop.answer(call))


_FIRST_END = Patch(
    _RESTORE,
    "                if offset >= ends[partition]:",
    "                if error is not None or offset >= ends[partition]:",
)
_KEEPS_REVOKED = Patch(
    _PROCESSOR,
    "    async def on_revoke(self, partitions: Collection[int]) -> None:\n        self._forget(partitions)\n",
    "    async def on_revoke(self, partitions: Collection[int]) -> None:\n        pass\n",
)
_DEADLINE = "        deadline_s = now_s + linger_s\n"
_LINGERS = Patch(_POLICY, _DEADLINE, "        deadline_s = now_s + 2.0\n")
"""Not wrong, but much is not committed when something befalls the process."""
_SEND_OFFSETS = "        await self._retrying(lambda: producer.send_offsets(topic, offsets, group))\n"

_FEW_WORKERS = PLAN._replace(stores=3, workers=1, builders=1, checkers=1, submit_period_s=0.1)
_MOVING = PLAN._replace(kinds=("rebalance", "slow markers"), fault_steps=30)
_REBALANCING = PLAN._replace(kinds=("rebalance",), fault_steps=30)
_LOSING = PLAN._replace(kinds=("forgotten",), submit_period_s=0.1, fault_steps=300)

STORE_MUTANTS = {
    # Restores without waiting for pending offsets and open transactions.
    "naive restore": Mutant(Protocol(patches=(_FIRST_END,), store_consumer=UncommittedConsumer), _MOVING),
    # Restores up to the last stable offset, which is below the first open transaction.
    "stable end": Mutant(Protocol(patches=(_FIRST_END,)), _MOVING),
    # Restores from offsets that an open transaction may still change.
    "pending offsets": Mutant(Protocol(store_consumer=UncommittedConsumer), _MOVING),
    # Takes an end that a new leader gave for the truth.
    "trusts an empty end": Mutant(
        Protocol(patches=(Patch(_RESTORE, "_DOUBTS = 3", "_DOUBTS = 0"),)),
        PLAN._replace(kinds=("rebalance", "new leader"), fault_steps=60),
    ),
    # Commits offsets with metadata that name no member, so that the group fences nobody.
    "no member": Mutant(
        Protocol(
            patches=(
                Patch(_PROCESSOR, "group = self._consumer.group_metadata\n", "group = None\n"),
                Patch(_PROCESSOR, "raise KafkaException(KafkaError(KafkaError._ASSIGNMENT_LOST))", "pass"),
            )
        ),
        _FEW_WORKERS._replace(kinds=("mid-transaction",), fault_steps=300),
    ),
    # Keeps the memory of partitions that were given up, and uses it when they come back.
    "remembers partitions": Mutant(
        Protocol(
            patches=(
                _KEEPS_REVOKED,
                Patch(
                    _PROCESSOR,
                    "        return await self._restore(partitions)\n",
                    "        await self._restore([p for p in partitions if p not in self._partitions])\n"
                    "        return self._next_offsets(self._partitions)\n",
                ),
            )
        ),
        _REBALANCING,
    ),
    # Folds and commits partitions that were revoked.
    "folds what was revoked": Mutant(Protocol(patches=(_KEEPS_REVOKED,)), _REBALANCING),
    # Folds and commits partitions that were lost.
    "folds what was lost": Mutant(
        Protocol(
            patches=(
                _LINGERS,
                Patch(
                    _PROCESSOR,
                    "    async def on_lost(self, partitions: Collection[int]) -> None:\n"
                    "        self._forget(partitions)\n",
                    "    async def on_lost(self, partitions: Collection[int]) -> None:\n        pass\n",
                ),
            )
        ),
        _FEW_WORKERS._replace(kinds=("pause", "cut off"), submit_period_s=0.05, fault_steps=60),
    ),
    # Folds on after a rebalance within a batch.
    "does not rewind": Mutant(
        Protocol(
            patches=(
                _LINGERS,
                Patch(_PROCESSOR, "if self._reassigned and messages:", "if False:"),
            )
        ),
        _LOSING._replace(stores=1, fault_steps=150),
    ),
    # Reads on after a full transaction, without the rest of the batch.
    "loses the rest": Mutant(
        Protocol(
            patches=(
                Patch(
                    _PROCESSOR,
                    "            elif self._fold(message) and not await self._commit_if_due():\n",
                    "            elif self._fold(message):\n                await self._commit_if_due()\n",
                ),
            )
        ),
        PLAN._replace(transaction_bytes=3000, submit_period_s=0.05),
    ),
    # Adds events to memory that was restored after a failure, and skips those in between.
    "folds on after a failure": Mutant(
        Protocol(
            patches=(
                Patch(
                    _PROCESSOR,
                    "            elif self._fold(message) and not await self._commit_if_due():\n"
                    "                return\n",
                    "            elif self._fold(message):\n                await self._commit_if_due()\n",
                ),
            )
        ),
        PLAN._replace(transaction_bytes=3000, submit_period_s=0.05, kinds=("fence", "pause"), fault_steps=30),
    ),
    # Commits full transactions only.
    "forgets the deadline": Mutant(
        Protocol(patches=(Patch(_POLICY, _DEADLINE, "        deadline_s = now_s + 1e9\n"),)),
        PLAN._replace(workers=1, builders=1, checkers=1, transaction_bytes=3000),
    ),
    # Commits rows without offsets.
    "forgets offsets": Mutant(Protocol(patches=(Patch(_PROCESSOR, _SEND_OFFSETS, ""),))),
    # Commits offsets beside the transaction.
    "offsets apart": Mutant(
        Protocol(
            patches=(Patch(_PROCESSOR, _SEND_OFFSETS, "        await self._consumer.commit(offsets)\n"),)
        )
    ),
    # Goes on with its memory after a transaction that failed, or that seems to have failed.
    "remembers failures": Mutant(
        Protocol(
            patches=(
                Patch(
                    _PROCESSOR,
                    "        self._consumer.seek(await self._restore(list(self._partitions)))\n",
                    "",
                ),
            )
        ),
        PLAN._replace(kinds=("fence",), fault_steps=20),
    ),
    # Takes a transaction that failed for one that was committed.
    "ignores failures": Mutant(
        Protocol(
            patches=(
                Patch(
                    _PROCESSOR,
                    "        self._consumer.seek(await self._restore(list(self._partitions)))\n",
                    "        for partition in self._partitions.values():\n"
                    "            partition.committed()\n"
                    "        self._policy.committed()\n",
                ),
            )
        ),
        PLAN._replace(kinds=("fence",), fault_steps=60),
    ),
}
"""By name."""

HARMLESS_STORES = {
    # Lets all facts wait for two seconds.
    "lingers": Mutant(Protocol(patches=(_LINGERS,)), _LOSING),
    # Gives each record of the queue to the next partition.
    "turns": Mutant(Protocol(patches=(Patch(_PROCESSOR, "_PER_PLACE = 4\n", "_PER_PLACE = 1\n"),))),
}
"""Not wrong: must not be found out."""
