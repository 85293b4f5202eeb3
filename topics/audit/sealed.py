"""Comparison of the log with its seals. No Kafka client here."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from confluent_kafka import Message
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from topics.audit.seals import OffsetRange, Seal, fingerprint, open_seal
from topics.kafka.codec import DecodeError
from topics.kafka.records import position
from topics.times import rfc3339
from topics.topic import FOR_EVER, Topic

Chain = list[Seal]
"""Seals of one partition, in their order."""


@dataclass(slots=True)
class Seals:
    """The seals on `audit.seals` with their flaws."""

    chains: dict[tuple[str, int], Chain] = field(default_factory=lambda: defaultdict(list))
    """Chains of seals, by sealed topic and partition."""
    flaws: list[str] = field(default_factory=list)
    """Flaws of the seals themselves, a sentence each."""


def read_seals(messages: Iterable[Message], keys: tuple[Ed25519PublicKey, ...]) -> Seals:
    """Return all seals of the topic, and the places at which their chains are broken."""
    seals, previous = Seals(), dict[tuple[str, int], str]()
    for message in messages:
        where = f"{message.topic()}/{message.partition()}/{message.offset()}"
        try:
            seal = open_seal(message, keys)
        except DecodeError as error:
            seals.flaws.append(f"{where} is not a seal: {error}")
            continue
        of = seal.topic, seal.partition
        chain = seals.chains[of]
        end = chain[-1].next_offset if chain else 0
        if (seal.previous, seal.first_offset) != (previous.get(of, ""), end):
            seals.flaws.append(f"{where} does not follow the seal before it, which is missing or another one")
        chain.append(seal)
        previous[of] = fingerprint(message.value())
    return seals


class Inspection:
    """Comparison of one topic, record by record, with its seals."""

    def __init__(self, topic: Topic, chains: Mapping[tuple[str, int], Chain], now_ms: int) -> None:
        """Prepare the comparison. Records older than the topic's retention at `now_ms` may be missing."""
        expired_until_ms = -1 if topic.retention_ms == FOR_EVER else now_ms - topic.retention_ms
        self._partitions = {
            partition: _Partition(f"{topic.name}/{partition}", chain, expired_until_ms)
            for (name, partition), chain in chains.items()
            if name == topic.name
        }
        self._unsealed = 0

    def add(self, message: Message) -> None:
        """Compare the next record of its partition."""
        partition = self._partitions.get(position(message).partition)
        if partition is None or not partition.add(message):
            self._unsealed += 1

    def finish(self) -> "Sealing":
        """Return the findings, after the whole topic has been read."""
        for partition in self._partitions.values():
            partition.finish()
        found = self._partitions.values()
        return Sealing(
            flaws=[flaw for partition in found for flaw in partition.flaws],
            sealed=[partition.sealed for partition in found],
            expired=sum(partition.expired for partition in found),
            unsealed=self._unsealed,
        )


@dataclass(frozen=True, slots=True)
class Sealing:
    """Findings about the seals of a topic."""

    flaws: list[str]
    """Ranges that differ from their seal, a sentence each."""
    sealed: list[str]
    """End of the sealed range of each partition, a sentence each."""
    expired: int
    """Seals some of whose records were deleted by the topic's retention."""
    unsealed: int
    """Records after the last seal of their partition."""


class _Partition:
    def __init__(self, name: str, chain: Chain, expired_until_ms: int) -> None:
        self._name, self._chain, self._expired_until_ms = name, chain, expired_until_ms
        self._remaining = iter(chain)
        self._seal = next(self._remaining, None)
        self._range = OffsetRange(0)
        self._begins_at: int | None = None
        self.expired = 0
        self.flaws: list[str] = []

    @property
    def sealed(self) -> str:
        last = self._chain[-1]
        return (
            f"{self._name} is sealed before offset {last.next_offset} ({rfc3339(last.last_time_ms)}) "
            f"by {len(self._chain)} seals"
        )

    def add(self, message: Message) -> bool:
        """Compare a record, and return whether it is sealed."""
        offset = position(message).offset
        if self._begins_at is None:
            self._begins_at = offset
        while self._seal is not None and offset >= self._seal.next_offset:
            self._compare(self._seal)
        if self._seal is None:
            return False
        self._range.add(message)
        return True

    def finish(self) -> None:
        while self._seal is not None:
            self._compare(self._seal)

    def _compare(self, seal: Seal) -> None:
        """Compare the range of `seal`, which has been read to its end."""
        found, self._range = self._range, OffsetRange(seal.next_offset)
        self._seal = next(self._remaining, None)
        if found.digest == seal.digest:
            return
        if self._expired(seal):
            self.expired += 1
            return
        what = (
            "a record was altered or moved"
            if found.records == seal.records
            else f"{seal.records} records were sealed, {found.records} are there"
        )
        offsets = f"offsets {seal.first_offset} to {seal.next_offset - 1}"
        self.flaws.append(f"{self._name} is not as it was sealed in {offsets}: {what}")

    def _expired(self, seal: Seal) -> bool:
        """Return whether the missing records of a range may have been deleted by retention.

        The log then begins within or after the range, and all missing records were old enough.
        """
        if self._begins_at is not None and self._begins_at <= seal.first_offset:
            return False
        whole = self._begins_at is None or self._begins_at >= seal.next_offset
        return (seal.last_time_ms if whole else seal.first_time_ms) < self._expired_until_ms
