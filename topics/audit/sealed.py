"""Holding the log against its seals; no Kafka client here."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from confluent_kafka import Message
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from topics.audit.seals import OffsetRange, Seal, fingerprint, open_seal
from topics.catalogue import FOR_EVER, Topic
from topics.kafka.codec import DecodeError
from topics.times import rfc3339

Chain = list[Seal]
"""The seals of one partition, in their order."""


@dataclass(slots=True)
class Seals:
    """Everything on `audit.seals`."""

    chains: dict[tuple[str, int], Chain] = field(default_factory=lambda: defaultdict(list))
    """By topic and partition of what is sealed."""
    flaws: list[str] = field(default_factory=list)
    """What is wrong with the seals themselves."""


def read_seals(messages: Iterable[Message], keys: tuple[Ed25519PublicKey, ...]) -> Seals:
    """All seals of the topic, and where their chains are broken."""
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
    """Reads one topic along its seals."""

    def __init__(self, topic: Topic, chains: Mapping[tuple[str, int], Chain], now_ms: int) -> None:
        """What is older than the topic's retention at `now_ms` may be gone."""
        expired_until_ms = -1 if topic.retention_ms == FOR_EVER else now_ms - topic.retention_ms
        self._partitions = {
            partition: _Partition(f"{topic.name}/{partition}", chain, expired_until_ms)
            for (name, partition), chain in chains.items()
            if name == topic.name
        }
        self._unsealed = 0

    def add(self, message: Message) -> None:
        """Take the next record of its partition in."""
        partition = self._partitions.get(message.partition() or 0)
        if partition is None or not partition.add(message):
            self._unsealed += 1

    def finish(self) -> "Sealing":
        """What was found, once the whole topic has been read."""
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
    """How far a topic is sealed, and what is not as it was sealed."""

    flaws: list[str]
    sealed: list[str]
    """Until where, a sentence for each partition."""
    expired: int
    """Seals of which records are gone because they were old enough for it."""
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
        """Whether it is sealed."""
        offset = message.offset() or 0
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
        """The whole range of `seal` has been read."""
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
        """Whether the log begins within or after the range, and all that is gone was old enough to go."""
        if self._begins_at is not None and self._begins_at <= seal.first_offset:
            return False
        whole = self._begins_at is None or self._begins_at >= seal.next_offset
        return (seal.last_time_ms if whole else seal.first_time_ms) < self._expired_until_ms
