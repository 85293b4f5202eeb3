"""Kafka broker as a child process: started, awaited until ready, stopped, restarted on its data.

The folder of a broker:

    lock                locked by the broker's process while it runs
    server.properties   written at each start
    port                the chosen port, if none was given
    broker.out          output of the JVM itself
    broker/             the only part that the broker may write
        log/            the logs of its topics; made whole or not at all
        broker.log      its own log
        tmp/            native libraries that it unpacks
"""

import fcntl
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from infra.accounts import PRIVATE_UMASK, close, give_to
from infra.kafka.ports import LOOPBACK, choose_free_port, is_free
from infra.kafka.properties import GatewayPorts, broker_properties, render, secured
from infra.kafka.tls import Tls

HEAP_BYTES = 256 * 1024 * 1024
"""Heap of a broker without users. A broker of a few hundred partitions uses about 100 MiB of it."""

_FIRST_HEAP_BYTES = 112 * 1024 * 1024
"""Heap at the start, which grows up to the largest size when the broker needs more. What is used without load
are 40 MiB. With the largest size from the start, garbage fills it: the broker has 260 MiB after ten minutes
without load instead of 210."""

_YOUNG_BYTES = 48 * 1024 * 1024
"""Part of the heap for new objects. Each submission takes 0.2 MiB of it, so that one in 170 meets a garbage
collection."""

START_TIMEOUT_S = 60.0
"""Time that a start may take: ten times that of a start after kill -9."""

STOP_TIMEOUT_S = 20.0
"""Time that a clean stop may take: ten times the usual."""

SUPER_USER = "admin"
"""User whom a broker with users allows every operation, without ACLs."""

_POLL_S = 0.05
_ANSWER_TIMEOUT_S = 2.0

_GUARD = ("setpriv", "--no-new-privs", "--pdeathsig=KILL")
"""Command that starts the broker. It forbids new privileges, and asks the kernel to kill the process when its
parent thread ends. It then executes the broker under the same process id."""


class KafkaStartError(Exception):
    """The broker cannot be started. The message has the reason and the remedy."""


@dataclass(frozen=True)
class Distribution:
    """Files of Kafka and Java on this machine."""

    java: Path
    jars: tuple[Path, ...]
    class_sharing: str
    """JVM option that names the class archive. The archive more than halves the time of a start."""


@dataclass(frozen=True)
class Quorum:
    """Identity and controllers of a cluster. Each of its brokers is a controller, and votes."""

    cluster_id: str
    controller_ports: Mapping[int, int]
    """Controller port of each broker by node id."""


def new_cluster_id() -> str:
    """Return a random cluster id in Kafka's form: 16 bytes in URL-safe base64."""
    # With this first byte the id does not begin with a dash, which Kafka's tool would parse as an option.
    return urlsafe_b64encode(b"k" + secrets.token_bytes(15)).decode().rstrip("=")


class EmbeddedKafka:
    """Broker on 127.0.0.1, alone or one of several.

    The kernel kills the broker when the thread that called `start` or `launch` ends. Call them from a thread
    that outlives the broker. The broker has its own session, so Ctrl-C in a terminal does not reach it.
    """

    process: subprocess.Popen[bytes] | None = None

    def __init__(
        self,
        data_dir: Path,
        distribution: Distribution,
        *,
        port: int = 0,
        user: str | None = None,
        heap_bytes: int = HEAP_BYTES,
        runs_on: bool = False,
        node_id: int = 1,
        quorum: Quorum | None = None,
        tls: Tls | None = None,
        behind_gateway: bool = False,
    ) -> None:
        """Describe a broker without starting it or writing files.

        Args:
            data_dir: made if it is missing. With `user`, every folder above must be open to that user.
            distribution: see `infra.kafka.install.install_kafka`.
            port: 0 chooses a free port once, and stores it in `data_dir`.
            user: name of the system user to run as; needs root.
            heap_bytes: largest size of the JVM's heap.
            runs_on: whether the broker runs for more than some minutes, so that the JVM's second compiler
                (C2) pays off.
            node_id: id of the broker in its cluster.
            quorum: None for a single broker.
            tls: None for a broker without users, which allows all clients every operation. Otherwise clients
                need TLS, a user and rights.
            behind_gateway: True, together with `tls`, if a gateway listens on `port`. The broker then listens
                on two other ports.
        """
        self.data_dir = data_dir.absolute()
        self.port = port
        self._distribution = distribution
        self._account = pwd.getpwnam(user) if user else None
        self._heap_bytes, self._runs_on = heap_bytes, runs_on
        self._node_id, self._quorum = node_id, quorum
        self._tls, self._admin_port = tls, 0
        # Chosen once, so that clients find the broker after a restart.
        self.gateway = GatewayPorts(choose_free_port(), choose_free_port()) if behind_gateway else None
        self._broker_dir = self.data_dir / "broker"
        self._log_dir = self._broker_dir / "log"
        self._properties_file = self.data_dir / "server.properties"

    @property
    def bootstrap_servers(self) -> str:
        """Address that clients connect to; known once the broker has been started."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def roles_servers(self) -> str:
        """Address that the roles connect to; known once the broker has been started."""
        return f"{LOOPBACK}:{self.gateway.roles_port}" if self.gateway else self.bootstrap_servers

    @property
    def admin_connection(self) -> dict[str, Any]:
        """librdkafka properties of a client that has every right without a user; known after the start."""
        if self._tls is None:
            return {"bootstrap.servers": self.bootstrap_servers}
        return {
            "bootstrap.servers": f"{LOOPBACK}:{self._admin_port}",
            "security.protocol": "SSL",
            "ssl.ca.location": str(self._tls.ca_file),
            "ssl.certificate.location": str(self._tls.broker_file),
            "ssl.key.location": str(self._tls.broker_file),
        }

    @property
    def cluster_id(self) -> str:
        """Cluster id in this broker's data; known once the broker has been started."""
        lines = (self._log_dir / "meta.properties").read_text().splitlines()
        return next(line.removeprefix("cluster.id=") for line in lines if line.startswith("cluster.id="))

    @property
    def running(self) -> bool:
        """True while the broker's process runs."""
        return self.process is not None and self.process.poll() is None

    def start(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Start the broker and wait until it answers with the cluster id of its data.

        Raises:
            KafkaStartError: the port is in use, or the broker ended or was not ready in time. The broker does
                not run then.
        """
        deadline = time.monotonic() + timeout_s
        self.launch(timeout_s)
        self.wait_until_ready(deadline - time.monotonic())

    def launch(self, format_timeout_s: float = START_TIMEOUT_S) -> None:
        """Start the broker's process. This takes seconds if there are no data yet, else milliseconds.

        Raises:
            KafkaStartError: the port is in use, or the data folder cannot be formatted in time.
        """
        self.data_dir.mkdir(parents=True, exist_ok=True)
        close(self.data_dir, self._account)
        with self._locked_data() as lock:
            self._settle_port()
            self._make_broker_folder()
            if not self._log_dir.exists():
                self._format(lock, format_timeout_s)
            self._write_properties(self._log_dir)
            self.process = self._spawn(lock, "kafka.Kafka", self._properties_file)

    def wait_until_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until the launched process answers. Any thread may wait.

        Raises:
            KafkaStartError: the broker ended or was not ready in time. It does not run then.
        """
        deadline = time.monotonic() + timeout_s
        try:
            while not self._answers():
                if not self.running:
                    raise KafkaStartError(f"the broker ended while it started:\n{self._last_errors()}")
                if time.monotonic() > deadline:
                    raise KafkaStartError(f"the broker was not ready in time:\n{self._last_errors()}")
                time.sleep(_POLL_S)
        except BaseException:
            self.kill()
            raise

    def terminate(self) -> None:
        """Ask the broker to stop cleanly, and return at once."""
        if self.process is not None:
            self.process.terminate()

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Stop the broker cleanly, or kill it if that takes longer than `timeout_s`."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Kill the broker with SIGKILL, as a crash would end it. Its data remain usable for another start."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @contextmanager
    def _locked_data(self) -> Iterator[int]:
        """Yield the descriptor of a lock on the data. A broker that inherits it keeps the lock.

        Raises:
            KafkaStartError: another broker runs on the same data.
        """
        with (self.data_dir / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise KafkaStartError(f"a broker runs on {self.data_dir} already: end it first") from None
            yield lock.fileno()

    def _make_broker_folder(self) -> None:
        self._broker_dir.mkdir(exist_ok=True)
        tmp = self._broker_dir / "tmp"
        shutil.rmtree(tmp, ignore_errors=True)
        tmp.mkdir()
        if self._account:
            give_to(self._account, self._broker_dir)
            os.chown(tmp, self._account.pw_uid, self._account.pw_gid)

    def _settle_port(self) -> None:
        if self.port == 0:
            stored = self.data_dir / "port"
            self.port = int(stored.read_text()) if stored.exists() else choose_free_port()
            stored.write_text(f"{self.port}\n")
        listened = {self.port}
        if self.gateway:  # the gateway keeps the port of the clients while the broker restarts
            inner = {self.gateway.behind_port, self.gateway.roles_port}
            listened = inner if self.process else inner | {self.port}
        for port in listened:
            if not is_free(port):
                raise KafkaStartError(
                    f"port {port} on {LOOPBACK} is in use by another process: end it, or choose another "
                    "(ENVICUTOR_KAFKA_PORT)"
                )

    def _write_properties(self, log_dir: Path) -> None:
        ports = self._quorum.controller_ports if self._quorum else {self._node_id: choose_free_port()}
        properties = broker_properties(
            log_dir=log_dir, port=self.port, controller_ports=ports, node_id=self._node_id
        )
        if self._tls is not None:
            self._admin_port = choose_free_port()
            properties = secured(
                properties,
                self._tls,
                admin_port=self._admin_port,
                super_user=SUPER_USER,
                gateway=self.gateway,
            )
        self._properties_file.write_text(render(properties))

    def _format(self, lock: int, timeout_s: float) -> None:
        """Format the log folder with its cluster id. The folder appears whole or not at all.

        Raises:
            KafkaStartError: Kafka's storage tool failed.
        """
        unfinished = self._log_dir.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        self._write_properties(unfinished)
        cluster_id = self._quorum.cluster_id if self._quorum else new_cluster_id()
        arguments = ("format", "--cluster-id", cluster_id, "--config", self._properties_file)
        formatting = self._spawn(lock, "kafka.tools.StorageTool", *arguments)
        try:
            exit_code = formatting.wait(timeout_s)
        finally:
            formatting.kill()
            formatting.wait()
        if exit_code != 0:
            raise KafkaStartError(f"the log folder of the broker cannot be made:\n{self._last_errors()}")
        unfinished.rename(self._log_dir)

    def _spawn(self, lock: int, main_class: str, *arguments: str | Path) -> subprocess.Popen[bytes]:
        with (self.data_dir / "broker.out").open("wb") as output:
            return subprocess.Popen(
                [*_GUARD, *self._java(), main_class, *arguments],
                cwd=self._broker_dir,
                env={"LANG": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                umask=PRIVATE_UMASK,
                start_new_session=True,
                pass_fds=(lock,),
                user=self._account.pw_uid if self._account else None,
                group=self._account.pw_gid if self._account else None,
                extra_groups=() if self._account else None,
            )

    def _java(self) -> list[str | Path]:
        return [
            self._distribution.java,
            f"-Xms{min(_FIRST_HEAP_BYTES, self._heap_bytes) // 1024}k",
            f"-Xmx{self._heap_bytes // 1024}k",
            f"-Xmn{_YOUNG_BYTES // 1024}k",
            "-XX:+UseSerialGC",
            # C2 takes CPU time in the first two minutes, up to four times as much, and saves a third later.
            *([] if self._runs_on else ["-XX:TieredStopAtLevel=1"]),
            # Fewer TLB misses save a tenth of the CPU time of each request.
            "-XX:+UseTransparentHugePages",
            "-XX:MetaspaceSize=96m",
            "-XX:+ExitOnOutOfMemoryError",
            "-XX:-UsePerfData",  # performance data would leave a file in /tmp after a kill
            self._distribution.class_sharing,
            f"-Djava.io.tmpdir={self._broker_dir / 'tmp'}",
            f"-Denvicutor.kafka.log={self._broker_dir / 'broker.log'}",
            f"-Dlog4j2.configurationFile={Path(__file__).with_name('log4j2.properties')}",
            # The full list, since the class archive is valid only for the same jars in the same order.
            "-cp",
            ":".join(str(jar) for jar in self._distribution.jars),
        ]

    def _answers(self) -> bool:
        """Return whether this broker answers on its port.

        Raises:
            KafkaStartError: another broker answers, which the cluster id shows.
        """
        try:
            port = self.gateway.behind_port if self.gateway else self.port
            socket.create_connection((LOOPBACK, port), timeout=1).close()
            cluster = AdminClient(self.admin_connection | {"log_level": 0}).list_topics(
                timeout=_ANSWER_TIMEOUT_S
            )
        except (OSError, KafkaException):
            return False
        if cluster.cluster_id != self.cluster_id:
            raise KafkaStartError(
                f"another Kafka broker answers on {self.bootstrap_servers}: choose another port"
            )
        return bool(cluster.brokers)

    def _last_errors(self) -> str:
        """Return the last warnings and errors of the broker, without stack frames and lists of properties."""
        logs = (self._broker_dir / "broker.log", self.data_dir / "broker.out")
        texts = [path.read_text(errors="replace") for path in logs if path.exists()]
        lines = [line for text in texts for line in text.splitlines()]
        return "\n".join([line for line in lines if not line.startswith("\t") and " INFO " not in line][-10:])
