"""Direct dispatch with a few lines replaced: patches of what ships, most of which lose or repeat work."""

from tests.simulator.mutant import PLAN, Mutant
from tests.simulator.patches import Patch
from tests.simulator.world import Protocol

_DISPATCH = "ingest.direct_dispatch"
_OWED = "processors.store.owed_attempts"
_PARTITION = "processors.store.partition"
_DISPATCHER = "processors.store.dispatcher"
_TURNS = "processors.store.turns"

_DISPATCH_AFTER = """\
        self._appending.add(appended)
        appended.add_done_callback(lambda done: self._dispatch(plan, done))
"""
_NEVER = Patch(_OWED, "ENQUEUE_AFTER_S = 3.0\n", "ENQUEUE_AFTER_S = 1e9\n")
_SHOWN_LATE = Patch("processors.queue.progress_buffer", "DELAY_S = 0.05\n", "DELAY_S = 1.0\n")
_PRODUCED = "            produced = self._producer.publish(record, partition=plan.to.partition)\n"

_IDLE = PLAN._replace(ingests=2, workers=3, submit_period_s=0.4, environments=1)
"""Workers have room, so that most submissions are dispatched directly."""
_DYING = _IDLE._replace(kinds=("mid-dispatch",), fault_steps=60)
_TWICE = _IDLE._replace(
    ingests=1,
    partitions=1,
    queue_partitions=4,
    stores=1,
    workers=4,
    builders=1,
    checkers=1,
    submit_period_s=2.0,
    poison_chance=0.2,
    kinds=("duplicate",),
    fault_steps=10_000,
)
"""Poison reaches workers twice: from the request handler, and from the store processor. Few faults, so that
free workers have read records before."""
_TURNS_PLAN = PLAN._replace(ingests=1, turns=True)


def _patched(*patches: Patch) -> Protocol:
    return Protocol(patches=patches)


DISPATCH_MUTANTS = {
    # Enqueues before the request is acknowledged.
    "dispatches first": Mutant(
        _patched(
            Patch(
                _DISPATCH,
                _DISPATCH_AFTER,
                "        done = asyncio.get_running_loop().create_future()\n"
                "        done.set_result(Message('t', 0, 0, b'', b'', []))\n"
                "        self._dispatch(plan, done)\n",
            )
        ),
        _IDLE,
    ),
    # Nobody enqueues what a request handler was to enqueue and did not.
    "owes nothing": Mutant(_patched(_NEVER), _DYING),
    # Owes only what was folded since the partition was assigned.
    "owed only in memory": Mutant(
        _patched(Patch(_PARTITION, "for id in candidates if", "for id in set[str]() if")),
        _DYING._replace(kinds=("mid-dispatch", "rebalance"), fault_steps=20),
    ),
    # A refused fact shows that a worker has the attempt.
    "refused facts count": Mutant(
        _patched(Patch(_DISPATCHER, "if applied.fact is None:\n", "if not applied.id:\n")),
        _DYING._replace(kinds=("mid-dispatch", "duplicate"), fault_steps=5),
    ),
    # Enqueues what it owes with a record that counts as a first delivery. The log shows late that a worker
    # has the attempt, since poison is seldom quicker than the delay that ships.
    "owes without hops": Mutant(
        _patched(
            _SHOWN_LATE,
            Patch(_PARTITION, '[(HOPS, b"0")] if maybe_enqueued else []', "[]"),
        ),
        _TWICE,
    ),
    # Takes what a failed transaction enqueued for enqueued.
    "remembers turns": Mutant(
        _patched(Patch(_DISPATCHER, "        self._turns.forget(partitions)\n", "")),
        _TURNS_PLAN._replace(kinds=("fence",), fault_steps=60),
    ),
    # Dispatches a request whose id another request has.
    "dispatches conflicts": Mutant(
        _patched(
            Patch(
                _DISPATCH,
                'if state and state.owed == "direct":\n'
                "            self._enqueue(plan._replace(work=enqueue(state).work), event)\n",
                "if event:\n            self._enqueue(plan, event)\n",
            )
        ),
        _IDLE._replace(named_chance=0.8),
    ),
    # Makes the work itself instead of by the fold.
    "makes work by hand": Mutant(
        _patched(
            Patch(
                _DISPATCH,
                "        work = enqueue(state).work\n",
                "        work = enqueue(state).work.replace(package_set='now')\n",
            )
        ),
        _IDLE,
    ),
}
"""By name."""

HARMLESS_DISPATCHERS = {
    # Enqueues what it owes at once, whoever else does.
    "owes for no time": Mutant(
        _patched(Patch(_OWED, "ENQUEUE_AFTER_S = 3.0\n", "ENQUEUE_AFTER_S = 0.0\n")), _IDLE
    ),
    # Enqueues each record twice.
    "dispatches twice": Mutant(
        _patched(
            Patch(
                _DISPATCH,
                _PRODUCED,
                "            self._producer.produce(record, partition=plan.to.partition)\n" + _PRODUCED,
            )
        ),
        _IDLE,
    ),
    # Enqueues again what is on the queue.
    "forgets what is on the queue": Mutant(
        _patched(Patch(_TURNS, "        self._on_queue[turn.id] = turn.partition, now_s\n", "")), _TURNS_PLAN
    ),
    # Enqueues nothing beyond the free slots that workers published.
    "no surplus": Mutant(
        _patched(Patch(_TURNS, "return min(max(0, most - on_queue), len(self._by_id))", "return 0")),
        _TURNS_PLAN,
    ),
    # Enqueues again what was started while it did not run.
    "does not read first": Mutant(
        _patched(
            Patch(_DISPATCHER, "partitions[number].next_offset >= partitions[number].log_end", "number >= 0")
        ),
        _TURNS_PLAN._replace(kinds=("rebalance", "crash"), fault_steps=200),
    ),
    # Enqueues however late it is.
    "dispatches late": Mutant(_patched(Patch(_DISPATCH, "MAX_AGE_S = 1.0\n", "MAX_AGE_S = 1e9\n")), _DYING),
}
"""Not wrong: must not be found out."""
