"""The health checkers as processes on a real broker: who is declared dead, and who is not, whatever happens.

That somebody is *not* declared dead is shown with a sentinel in the same partition: a lease
that is not renewed, and is declared dead.
"""

import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Literal

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource
from confluent_kafka.cimpl import NewTopic

from tests.support.polling import eventually
from tests.support.roles import role_environment
from topics.catalogue import catalogue
from topics.dependencies import facts as dependencies
from topics.kafka.admin import ensure_topics
from topics.kafka.clients import EventProducer, consumer_config
from topics.kafka.codec import Headers, Record, decode_fact, encode, encode_fact, header
from topics.leases import Lease
from topics.request.limits import MiB
from topics.settings import KafkaSettings
from topics.submissions import facts as submissions
from topics.topic import Topic

DEADLINE_S = 90.0
LEASE_TIMEOUT_S = 2.0
TICK_S = 0.5
RENEWAL_S = 0.25

RUN = """
import logging, sys
from processors.health_checker.app import run
from processors.health_checker.settings import HealthCheckerSettings
from topics.settings import KafkaSettings
logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
run(KafkaSettings(), HealthCheckerSettings(), sys.argv[1:])
"""

Of = Literal["submissions", "dependencies"]
LeaseExpired = submissions.LeaseExpired | dependencies.LeaseExpired
FACTS: dict[Of, dict[str, type[LeaseExpired]]] = {
    "submissions": {"envicutor.submission.lease_expired.v1": submissions.LeaseExpired},
    "dependencies": {"envicutor.dependencies.lease_expired.v1": dependencies.LeaseExpired},
}


class Tail:
    """All records of a topic so far."""

    def __init__(self, kafka: KafkaSettings, topic: Topic) -> None:
        self._consumer = Consumer(consumer_config(kafka, "tail"))
        partitions = range(topic.partitions(kafka.profile))
        self._consumer.assign([TopicPartition(topic.name, n, OFFSET_BEGINNING) for n in partitions])
        self._messages: list[Message] = []

    def read(self) -> list[Message]:
        self._messages += self._consumer.consume(10_000, 0.1)
        return self._messages

    def close(self) -> None:
        self._consumer.close()


class Checker:
    """A health checker's process, started again whenever it ends with a fault, as a supervisor does."""

    def __init__(self, of: Of, env: dict[str, str], log: Path) -> None:
        self._command = [sys.executable, "-c", RUN, of]
        self._env, self._log = env, log
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(self._command, env=self._env, stdout=log, stderr=log)

    def owns(self) -> set[int] | None:
        """The partitions that it said to own at last, None before it said anything."""
        if (self._process.poll() or 0) > 0:  # a signal of the test's is below 0
            self._process = self._start()
        said = re.findall(r" owns partitions of \S+: (.*)", self._log.read_text())
        return {int(number) for number in re.findall(r"(\d+) \(", said[-1])} if said else None

    def log(self) -> str:
        return self._log.read_text()

    def exit_code(self) -> int:
        return self._process.wait(DEADLINE_S)

    def end(self, how: signal.Signals) -> int:
        self._process.send_signal(how)
        return self.exit_code()


class LeasedWork:
    """Topics, workers as far as health checkers know them, and health checkers."""

    def __init__(self, kafka: KafkaSettings, of: Of, folder: Path) -> None:
        topics = catalogue(kafka)
        self.kafka, self._of, self._folder = kafka, of, folder
        self.family = topics.submissions if of == "submissions" else topics.dependencies
        self.dead_letters = topics.dead_letters
        self.partitions = range(self.family.leases.partitions(kafka.profile))
        ensure_topics(kafka, (self.family.leases, self.family.events, self.dead_letters))
        self.producer = EventProducer(kafka)
        self.events = Tail(kafka, self.family.events)
        self.partition_of: dict[str, int] = {}
        self._names = (f"id-{n}" for n in itertools.count())
        self._checkers: list[Checker] = []
        self._held: set[tuple[str, int, str]] = set()
        self._closing = threading.Event()
        self._renewing = threading.Thread(target=self._renew)
        self._renewing.start()

    def close(self) -> None:
        for checker in self._checkers:
            checker.end(signal.SIGKILL)
            sys.stdout.write(checker.log())  # pytest shows it if the test fails
        self._closing.set()
        self._renewing.join()
        self.producer.close()
        self.events.close()

    def start_checker(self, **settings: float) -> Checker:
        numbers = {"lease_timeout_s": LEASE_TIMEOUT_S, "tick_period_s": TICK_S} | settings
        name = f"checker-{len(self._checkers)}"
        environment = role_environment(self.kafka, data_dir=self._folder / name, **numbers)
        checker = Checker(self._of, environment, self._folder / f"{name}.log")
        self._checkers.append(checker)
        return checker

    def shares(self, *checkers: Checker) -> list[set[int]]:
        """What each owns, once each partition has one owner."""

        def settled() -> bool:
            owned = [checker.owns() for checker in checkers]
            return None not in owned and sorted(itertools.chain(*filter(None, owned))) == [*self.partitions]

        eventually(settled, "each partition to have one owner")
        return [checker.owns() or set() for checker in checkers]

    def say(
        self, kind: Literal["taken", "renewed", "released"], id: str, attempt: int, worker: str
    ) -> "Future[Message]":
        lease = Lease(kind=kind, id=id, attempt=attempt, worker=worker)
        return self.producer.produce(Record(self.family.leases.name, id.encode(), encode(lease), []))

    def take(self, id: str | None = None, attempt: int = 1, worker: str = "w") -> str:
        """A lease that is not renewed."""
        id = id or next(self._names)
        self.partition_of[id] = self.say("taken", id, attempt, worker).result(DEADLINE_S).partition() or 0
        return id

    def hold(self, id: str | None = None, attempt: int = 1, worker: str = "w") -> str:
        """A lease that is renewed until its worker dies or releases it."""
        id = self.take(id, attempt, worker)
        self._held.add((id, attempt, worker))
        return id

    def die(self, *ids: str) -> None:
        self._held = {held for held in self._held if held[0] not in ids}

    def release(self, id: str, attempt: int = 1, worker: str = "w") -> None:
        self._held.discard((id, attempt, worker))
        self.say("released", id, attempt, worker).result(DEADLINE_S)

    def _renew(self) -> None:
        while not self._closing.wait(RENEWAL_S):
            for held in tuple(self._held):
                self.say("renewed", *held)

    def in_each_partition(self, make: Callable[[], str]) -> set[str]:
        """Ids that `make` makes, until each partition has one of them."""
        ids = set[str]()
        while {self.partition_of[id] for id in ids} != set(self.partitions):
            ids.add(make())
        return ids

    def declared_dead(self) -> Counter[tuple[str, int]]:
        """How often each attempt of each id was."""
        counts = Counter[tuple[str, int]]()
        for message in self.events.read():
            recorded = decode_fact(message, FACTS[self._of])
            counts[recorded.id, recorded.fact.attempt] += 1
        return counts

    def dead_ids(self) -> set[str]:
        for checker in self._checkers:
            checker.owns()
        return {id for id, _ in self.declared_dead()}

    def wait_until_dead(self, ids: set[str]) -> None:
        eventually(lambda: ids <= self.dead_ids(), f"the end of {ids}")

    def watch(self) -> None:
        """Until leases that are taken from now on have been declared dead in each partition."""
        self.wait_until_dead(self.in_each_partition(self.take))


Make = Callable[..., LeasedWork]


@pytest.fixture
def make(kafka: str, topic_prefix: str, tmp_path: Path) -> Iterator[Make]:
    made: list[LeasedWork] = []

    def make_system(of: Of = "submissions", profile: Literal["local", "cluster"] = "local") -> LeasedWork:
        settings = KafkaSettings(
            bootstrap_servers=kafka, topic_prefix=topic_prefix, profile=profile, session_timeout_ms=2000
        )
        made.append(LeasedWork(settings, of, tmp_path))
        return made[-1]

    yield make_system
    for system in made:
        system.close()


def assert_beside_the_events_of_the_worker(system: LeasedWork) -> None:
    """What a health checker says of a submission is in the same partition, in the same form."""
    for message in system.events.read():
        id = decode_fact(message, FACTS["submissions"]).id
        assert header(message, "ce_subject") == id
        assert str(header(message, "ce_source")).startswith("/envicutor/worker-health-checker/")
        started = submissions.Started(attempt=1, worker="w")
        record = encode_fact(system.family.events.name, id, started, submissions.FACTS, "worker/1")
        assert system.producer.produce(record).result(DEADLINE_S).partition() == message.partition()


def test_declares_the_highest_attempt_dead_once_and_nobody_else(make: Make) -> None:
    system = make(profile="cluster")
    checker = system.start_checker()
    alive = system.in_each_partition(system.hold)
    with_a_dead_twin = system.take(worker="dead")
    system.hold(with_a_dead_twin, worker="alive")
    over = system.hold()
    system.release(over)
    handed_on = system.take(attempt=1, worker="v")
    system.hold(handed_on, attempt=2, worker="w")
    system.watch()

    dead = system.take(attempt=1, worker="v")
    system.take(dead, attempt=2, worker="w")
    system.take(dead, attempt=2, worker="x")
    system.die(handed_on)
    system.wait_until_dead({dead, handed_on})
    system.watch()

    counts = system.declared_dead()
    assert set(counts.values()) == {1}
    assert {key for key in counts if key[0] in {dead, handed_on}} == {(dead, 2), (handed_on, 2)}
    assert not (alive | {with_a_dead_twin, over}) & system.dead_ids()
    assert checker.end(signal.SIGTERM) == 0
    assert_beside_the_events_of_the_worker(system)


def test_a_killed_checker_takes_no_live_lease_with_it(make: Make) -> None:
    system = make()
    killed, left = system.start_checker(), system.start_checker()
    assert [len(share) for share in system.shares(killed, left)] == [1, 1]
    alive, dead = system.in_each_partition(system.hold), system.in_each_partition(system.hold)
    system.watch()

    killed.end(signal.SIGKILL)
    system.die(*dead)
    system.wait_until_dead(dead)
    assert system.shares(left) == [set(system.partitions)]
    system.watch()
    assert not alive & system.dead_ids()
    assert left.end(signal.SIGTERM) == 0


def test_nobody_dies_because_all_checkers_were_away(make: Make) -> None:
    system = make()
    stopped, killed = system.start_checker(), system.start_checker()
    system.shares(stopped, killed)
    alive, dead = system.in_each_partition(system.hold), system.in_each_partition(system.hold)
    system.watch()

    assert stopped.end(signal.SIGTERM) == 0
    killed.end(signal.SIGKILL)
    system.die(*dead)
    time.sleep(2 * LEASE_TIMEOUT_S)  # away for longer than a lease lives
    system.start_checker()
    system.start_checker()
    system.wait_until_dead(dead)
    system.watch()
    assert not alive & system.dead_ids()


@pytest.mark.parametrize("of", ["submissions", "dependencies"])
def test_a_cold_start_finds_all_topics_and_logs_no_traceback(of: Of, make: Make, tmp_path: Path) -> None:
    """What Faust made itself it might not find at once, and ended."""
    system = make(of)
    ensure_topics(system.kafka, catalogue(system.kafka).topics())
    admin = AdminClient({"bootstrap.servers": system.kafka.bootstrap_servers})

    def topics() -> dict[str, int]:
        found = admin.list_topics(timeout=DEADLINE_S).topics
        prefix = system.kafka.topic_prefix
        return {name: len(topic.partitions) for name, topic in found.items() if name.startswith(prefix)}

    # A broker may list a topic a little later than the controller has created it.
    made = {topic.name: topic.partitions(system.kafka.profile) for topic in catalogue(system.kafka).topics()}
    before = eventually(topics, "all topics", enough=lambda listed: listed == made)
    checker = system.start_checker()
    eventually(checker.owns, "its partitions")
    assert "Traceback" not in checker.log()
    assert checker.log().count(" owns partitions of ") == 1
    assert topics() == before
    changelog = f"{system.kafka.topic_prefix}{system.family.checker_group}-leases-changelog"
    assert before[changelog] == len(system.partitions)
    settings = admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, changelog)])
    [described] = [future.result(DEADLINE_S) for future in settings.values()]
    assert described["cleanup.policy"].value == "compact"
    assert checker.end(signal.SIGTERM) == 0


def test_changelogs_that_faust_made_earlier_are_used(make: Make, kafka: str) -> None:
    system = make()
    changelog = f"{system.kafka.topic_prefix}{system.family.checker_group}-leases-changelog"
    as_faust = NewTopic(changelog, len(system.partitions), 1, config={"cleanup.policy": "compact"})
    admin = AdminClient({"bootstrap.servers": kafka})
    [made] = admin.create_topics([as_faust]).values()
    made.result(DEADLINE_S)
    ensure_topics(system.kafka, catalogue(system.kafka).topics())
    checker = system.start_checker()
    system.shares(checker)
    system.watch()
    assert checker.end(signal.SIGTERM) == 0


def test_one_owns_nothing_until_the_other_is_killed(make: Make) -> None:
    system = make("dependencies")
    checkers = [system.start_checker(), system.start_checker()]
    assert sorted(len(share) for share in system.shares(*checkers)) == [0, 1]
    idle, owner = sorted(checkers, key=lambda checker: len(checker.owns() or ()))
    alive = system.hold()
    owner.end(signal.SIGKILL)
    system.watch()
    assert system.shares(idle) == [{0}]
    assert alive not in system.dead_ids()
    newcomer = system.start_checker()
    system.shares(idle, newcomer)
    assert [idle.end(signal.SIGTERM), newcomer.end(signal.SIGTERM)] == [0, 0]


POISON: list[tuple[bytes | None, bytes | None, Headers]] = [
    (None, None, []),
    (b"a", None, []),
    (None, b"", [("without-value", None), ("twice", b"1"), ("twice", b"2")]),
    (b"\xff\xfe", b"\xff\xfe", [("binary", b"\xff")]),
    (b"a", b'{"kind": "taken", "id": "a", "attempt": 1' + b"0" * 1000 + b', "worker": "w"}', []),
    (b"a", b'{"kind": "taken", "id": "b", "attempt": 1, "worker": "w"}', []),
    (None, b'{"kind": "tick", "mark": null}', []),
    (b"a", b"[" * 100_000, []),
    (b"a", b"\0" * (16 * MiB - 1000), []),
]


def test_unreadable_records_become_dead_letters(make: Make) -> None:
    system = make()
    checker = system.start_checker()
    letters = Tail(system.kafka, system.dead_letters)
    sent = {}
    for key, value, headers in POISON:
        record = Record(system.family.leases.name, key, value, headers)
        delivered = system.producer.produce(record).result(DEADLINE_S)
        sent[f"{delivered.topic()}/{delivered.partition()}/{delivered.offset()}"] = (key, value, headers)
    eventually(lambda: len(letters.read()) >= len(sent), "the dead letters")
    received = {
        header(letter, "dead_letter_from"): (letter.key(), letter.value(), list(letter.headers() or ())[:-2])
        for letter in letters.read()
    }
    letters.close()
    assert received == sent
    system.watch()
    assert checker.end(signal.SIGTERM) == 0


def test_ends_itself_to_be_started_again_when_commits_do_not_come(make: Make) -> None:
    system = make()
    checker = system.start_checker(tick_period_s=0.05, stuck_timeout_s=0.1)  # Faust commits once a second
    assert checker.exit_code() == os.EX_TEMPFAIL
