"""Workers and cache builders with a few lines replaced: patches of what ships, most of which break rule 4."""

from tests.simulator.mutant import PLAN, Mutant
from tests.simulator.patches import Patch
from tests.simulator.world import Protocol

_ATTEMPTS = "processors.queue.attempts"
_COMMITS = "processors.queue.commits"
_CONSUMER = "processors.queue.consumer"
_FIRST = "processors.queue.first_deliveries"
_LEASES = "processors.queue.leases"
_OFFSETS = "processors.queue.offsets"
_PROGRESS = "processors.queue.progress_buffer"
_REDISTRIBUTION = "processors.queue.redistribution"
_STOPS = "processors.queue.stops"

_SECURE = """\
        await self.lease([delivery, *self._consumer.offsets.unsettled_to(delivery)])
        await self._consumer.committer.commit()
"""
_COMMIT_FIRST = """\
        before = [delivery, *self._consumer.offsets.unsettled_to(delivery)]
        for each in before:
            each.settled = True
        await self._consumer.committer.commit()
        await self.lease(before)
"""
_ALLOW = """\
            await self._secure(delivery)
            attempt.allow_run()
"""
_ALLOW_FIRST = """\
            attempt.allow_run()
            await self._secure(delivery)
"""
_AT_ONCE = """\
            attempt.allow_run()
            return None
"""
_END = """\
        await self._publish_end(attempt)
        self._release(attempt)
"""
_RELEASE_FIRST = """\
        self._release(attempt)
        await self._publish_end(attempt)
"""
_NO_END = "        if attempt.end is None and self._executor.is_cancelled(work):\n"
_IN_ORDER = """\
            while deliveries and deliveries[0].settled:
                self._next[partition] = deliveries.popleft().offset + 1
"""
_IN_ANY_ORDER = """\
            for each in [each for each in deliveries if each.settled]:
                deliveries.remove(each)
                self._next[partition] = each.offset + 1
"""
_REDIRECT = """\
        await acknowledged([self._producer.publish(record, partition=to) for record, to in records])
        for delivery in deliveries:
            self.settle(delivery)
"""
_REDIRECT_LATER = """\
        for delivery in deliveries:
            self.settle(delivery)
        await self.committer.commit()
        await acknowledged([self._producer.publish(record, partition=to) for record, to in records])
"""
_DROP_WAITING = """\
        self._waiting = [each for each in self._waiting if each.message.partition() in self._partitions]
"""
_REVOKE = "        await self._handler.lease(self.offsets.unsettled(partitions))\n"
_REVOKE_UNLEASED = """\
        for delivery in self.offsets.unsettled(partitions):
            delivery.settled = True
"""
_RESUME = """\
        elif not self._waiting:
            self._consumer.resume()
"""
_DRAIN = "            await asyncio.wait(tuple(self._running), timeout=_patience_s())\n        return not"
_POISON = PLAN._replace(poison_chance=0.1, fault_steps=10_000)
_STOPPING = PLAN._replace(kinds=("stop",))


def _patched(*patches: Patch) -> Protocol:
    return Protocol(patches=patches)


WORKER_MUTANTS = {
    # Commits the queue's offset before the lease is acknowledged.
    "commits first": Mutant(_patched(Patch(_ATTEMPTS, _SECURE, _COMMIT_FIRST))),
    # Does not wait for the acknowledgement of leases.
    "trusts its leases": Mutant(
        _patched(Patch(_ATTEMPTS, "        await acknowledged(acknowledgements)\n", ""))
    ),
    # Commits first deliveries before they are leased or over.
    "commits what runs": Mutant(
        _patched(Patch(_ATTEMPTS, _AT_ONCE, "            self._consumer.settle(delivery)\n" + _AT_ONCE))
    ),
    # Commits what is over, whatever runs before it in its partition.
    "commits ahead": Mutant(
        _patched(Patch(_OFFSETS, _IN_ORDER, _IN_ANY_ORDER)),
        PLAN._replace(submit_period_s=0.1, fault_steps=400),
    ),
    # Runs what was delivered before without a lease, so that nobody is charged for it (rule 5).
    "blames nobody": Mutant(
        _patched(
            Patch(_FIRST, "return offset >= first_from and header(message, HOPS) is None", "return True")
        ),
        _POISON,
    ),
    # Runs what was delivered before while lease and commit are on their way.
    "runs before the commit": Mutant(
        _patched(Patch(_ATTEMPTS, _ALLOW, _ALLOW_FIRST)), _POISON._replace(poison_chance=0.5)
    ),
    # Releases the lease before the end is acknowledged.
    "releases first": Mutant(_patched(Patch(_ATTEMPTS, _END, _RELEASE_FIRST))),
    # Releases the lease of what it stops without HandedBack.
    "hands back silently": Mutant(
        _patched(
            Patch(
                _ATTEMPTS,
                _NO_END,
                _NO_END.replace(
                    "self._executor.is_c", "attempt.execution.cancelled() or self._executor.is_c"
                ),
            )
        ),
        _STOPPING,
    ),
    # Releases the lease after a host error without HandedBack.
    "fails silently": Mutant(
        _patched(Patch(_ATTEMPTS, _NO_END, "        if attempt.end is None:\n")),
        PLAN._replace(host_fault_chance=0.2, fault_steps=10_000),
    ),
    # Renews no lease, so that a live worker's attempts are given to another.
    "renews nothing": Mutant(
        _patched(
            Patch(_LEASES, "                if acknowledged.done():", "                if not self._held:"),
            Patch(_ATTEMPTS, "timeout=self._process.lease_renewal_s", "timeout=0.01"),
        ),
        PLAN._replace(kinds=("slow markers",), submit_period_s=0.5),
    ),
    # Takes an order to stop one attempt for one to stop all later ones.
    "stops too much": Mutant(
        _patched(Patch(_STOPS, "attempt <= self._latest.get(id, 0)", "id in self._latest")),
        PLAN._replace(kinds=("crash", "stop", "pause")),
    ),
    # Commits a record that it redirects before that is acknowledged.
    "moves first": Mutant(
        _patched(Patch(_CONSUMER, _REDIRECT, _REDIRECT_LATER)),
        PLAN._replace(submit_period_s=0.1, fault_steps=50),
    ),
    # Takes a record for new that another process was given while it owned the partition.
    "remembers first deliveries": Mutant(
        _patched(Patch(_CONSUMER, "        self._first_deliveries.forget(partitions)\n", "")),
        _POISON._replace(kinds=("rebalance",), submit_period_s=0.1, fault_steps=60),
    ),
    # Gives up a partition after a commit of what runs, without a lease.
    "revokes unleased": Mutant(
        _patched(Patch(_CONSUMER, _REVOKE, _REVOKE_UNLEASED)),
        PLAN._replace(kinds=("rebalance", "crash"), submit_period_s=0.1, fault_steps=300),
    ),
    # Forgets records that are too large here until it knows the others.
    "forgets what is too large": Mutant(
        _patched(
            Patch(
                _CONSUMER,
                "        self._waiting[:0] = [Waiting(message, now_s) for message in messages]\n",
                "",
            )
        ),
        PLAN._replace(small_workers=1, kinds=("rebalance",), fault_steps=200),
    ),
    # Pauses while it is full, and never resumes.
    "never resumes": Mutant(
        _patched(
            Patch(_CONSUMER, _RESUME, "        elif not self._waiting:\n"),
            Patch(_REDISTRIBUTION, "READ_AHEAD = 16", "READ_AHEAD = 2"),
        ),
        PLAN._replace(workers=1, submit_period_s=0.05, kinds=("slow markers",)),
    ),
}
HARMLESS_WORKERS = {
    # Releases what was never leased: no rule says that it must not.
    "releases always": Mutant(
        _patched(
            Patch(
                _LEASES,
                "        if self._held.pop((id, attempt), None):\n",
                "        self._held.pop((id, attempt), None)\n        if self._held is not None:\n",
            )
        )
    ),
    # Keeps waiting records of partitions that are another's: what it starts of these is leased first, so two
    # processes run one attempt (rule 3).
    "keeps waiting": Mutant(
        _patched(Patch(_CONSUMER, _DROP_WAITING, "")),
        PLAN._replace(kinds=("rebalance", "crash"), queue_partitions=3, workers=3, fault_steps=50),
    ),
    # Ends without waiting for its last acknowledgements: leases expire.
    "leaves at once": Mutant(
        _patched(Patch(_ATTEMPTS, _DRAIN, "            pass\n        return not")), _STOPPING
    ),
    # Without the optimisations.
    "secures everything": Mutant(
        _patched(
            Patch(_FIRST, "return offset >= first_from and header(message, HOPS) is None", "return False"),
            Patch(_PROGRESS, "PROGRESS_DELAY_S = 0.05", "PROGRESS_DELAY_S = 0.0"),
            Patch(_COMMITS, "COMMIT_LINGER_S = 0.1", "COMMIT_LINGER_S = 0.0"),
        )
    ),
}
