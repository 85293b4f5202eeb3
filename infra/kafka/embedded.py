"""One Kafka broker as a child process: started, watched until ready, stopped, started again on its data.

The folder of a broker:

    lock                held by the broker's process as long as it lives
    server.properties   made anew at each start
    port                the port that was chosen, where none was given
    broker.out          what the JVM itself printed
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
from infra.kafka.properties import Gateway, broker_properties, render, secured
from infra.kafka.tls import Tls

HEAP_BYTES = 256 * 1024 * 1024
"""A broker of a few hundred partitions uses about 100 MiB of it."""

START_TIMEOUT_S = 60.0
"""Ten times what a start takes after kill -9."""

STOP_TIMEOUT_S = 20.0
"""Ten times what a clean stop takes."""

SUPER_USER = "admin"
"""Of a broker with users: whom no right is asked of."""

_POLL_S = 0.05
_ANSWER_TIMEOUT_S = 2.0

_GUARD = ("setpriv", "--no-new-privs", "--pdeathsig=KILL")
"""Can gain no privileges any more, dies with its parent, and becomes the broker: the process id stays."""


class KafkaStartError(Exception):
    """The broker cannot be started; the message says why and what to do."""


@dataclass(frozen=True)
class Distribution:
    """Kafka as it lies on this machine."""

    java: Path
    jars: tuple[Path, ...]
    class_sharing: str
    """The option of the JVM that names its class archive, which more than halves the start."""


@dataclass(frozen=True)
class Quorum:
    """What the brokers of one cluster have in common; each is a controller, and votes."""

    cluster_id: str
    controller_ports: Mapping[int, int]
    """By node id."""


def new_cluster_id() -> str:
    """A random identity, in the form that Kafka wants."""
    # 16 bytes, the first of them such that no dash comes first: it would be read as an option.
    return urlsafe_b64encode(b"k" + secrets.token_bytes(15)).decode().rstrip("=")


class EmbeddedKafka:
    """A broker on 127.0.0.1, alone or one of several.

    It dies with the thread that called `start` or `launch` (the kernel kills it), so call them from one that
    lives as long as the broker shall. It is in a session of its own: Ctrl-C in a terminal does not reach it.
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
        node_id: int = 1,
        quorum: Quorum | None = None,
        tls: Tls | None = None,
        behind_gateway: bool = False,
    ) -> None:
        """Describe a broker; nothing is started or written yet.

        Args:
            data_dir: made if it is missing. As another user, every folder above must be open to that user.
            distribution: see `infra.kafka.install.install_kafka`.
            port: 0 chooses a free one, once, and remembers it in `data_dir`.
            user: name of the system user to run as; needs root.
            heap_bytes: the most that the JVM's heap may grow to.
            node_id: which broker of its cluster it is.
            quorum: None for a broker that is alone.
            tls: None for a broker that lets everybody in; else clients need TLS, a user and rights.
            behind_gateway: with `tls`: a gateway listens on `port`, and the broker on two others.
        """
        self.data_dir = data_dir.absolute()
        self.port = port
        self._distribution = distribution
        self._account = pwd.getpwnam(user) if user else None
        self._heap_bytes = heap_bytes
        self._node_id, self._quorum = node_id, quorum
        self._tls, self._admin_port = tls, 0
        # Chosen once: clients must find a broker that was started again.
        self.gateway = Gateway(choose_free_port(), choose_free_port()) if behind_gateway else None
        self._broker_dir = self.data_dir / "broker"
        self._log_dir = self._broker_dir / "log"
        self._properties_file = self.data_dir / "server.properties"

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect to; known once the broker was started."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def roles_servers(self) -> str:
        """Where the roles connect to; known once the broker was started."""
        return f"{LOOPBACK}:{self.gateway.roles_port}" if self.gateway else self.bootstrap_servers

    @property
    def admin_connection(self) -> dict[str, Any]:
        """How a librdkafka client reaches it, once it was started, without any user, with every right."""
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
        """The identity of this broker's data; known once the broker was started."""
        lines = (self._log_dir / "meta.properties").read_text().splitlines()
        return next(line.removeprefix("cluster.id=") for line in lines if line.startswith("cluster.id="))

    @property
    def running(self) -> bool:
        """Whether the broker's process lives."""
        return self.process is not None and self.process.poll() is None

    def start(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Start the broker and wait until it answers as the one that owns this data.

        Raises:
            KafkaStartError: the port is in use, or the broker ended or was not ready in time. None runs then.
        """
        deadline = time.monotonic() + timeout_s
        self.launch(timeout_s)
        self.wait_until_ready(deadline - time.monotonic())

    def launch(self, format_timeout_s: float = START_TIMEOUT_S) -> None:
        """Start the broker's process. Takes seconds only where there are no data yet.

        Raises:
            KafkaStartError: the port is in use, or the folder of the data cannot be made in time.
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
        """Wait until the process that was launched answers; any thread may do that.

        Raises:
            KafkaStartError: it ended, or was not ready in time. None runs then.
        """
        deadline = time.monotonic() + timeout_s
        try:
            while not self._answers():
                if not self.running:
                    raise KafkaStartError(f"the broker ended while it started:\n{self._last_words()}")
                if time.monotonic() > deadline:
                    raise KafkaStartError(f"the broker was not ready in time:\n{self._last_words()}")
                time.sleep(_POLL_S)
        except BaseException:
            self.kill()
            raise

    def terminate(self) -> None:
        """Ask the broker to finish cleanly, and return at once."""
        if self.process is not None:
            self.process.terminate()

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Let the broker finish cleanly; kill it if it takes longer than `timeout_s`."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the broker as a crash would (SIGKILL). Its data stays good for another start."""
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
        """The descriptor of a lock on the data. A broker that inherits it goes on holding the lock."""
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
            remembered = self.data_dir / "port"
            self.port = int(remembered.read_text()) if remembered.exists() else choose_free_port()
            remembered.write_text(f"{self.port}\n")
        listened = {self.port}
        if self.gateway:  # it keeps the port of the clients while the broker is started again
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
        """Give the log folder its identity, whole or not at all."""
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
            raise KafkaStartError(f"the log folder of the broker cannot be made:\n{self._last_words()}")
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
            f"-Xms{min(HEAP_BYTES, self._heap_bytes) // 1024}k",
            f"-Xmx{self._heap_bytes // 1024}k",
            "-XX:+UseSerialGC",
            # The full compiler costs four times the CPU in the first seconds and pays only after minutes.
            "-XX:TieredStopAtLevel=1",
            # Fewer misses of the address cache: a tenth less CPU for each request.
            "-XX:+UseTransparentHugePages",
            "-XX:MetaspaceSize=96m",
            "-XX:+ExitOnOutOfMemoryError",
            "-XX:-UsePerfData",  # it leaves a file in /tmp after a kill
            self._distribution.class_sharing,
            f"-Djava.io.tmpdir={self._broker_dir / 'tmp'}",
            f"-Denvicutor.kafka.log={self._broker_dir / 'broker.log'}",
            f"-Dlog4j2.configurationFile={Path(__file__).with_name('log4j2.properties')}",
            # In full: the class archive holds only for the same jars in the same order.
            "-cp",
            ":".join(str(jar) for jar in self._distribution.jars),
        ]

    def _answers(self) -> bool:
        """Whether the broker at our port answers, and is ours: somebody else's would answer as well."""
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

    def _last_words(self) -> str:
        """What the broker complained about, without stack frames and without its list of properties."""
        logs = (self._broker_dir / "broker.log", self.data_dir / "broker.out")
        texts = [path.read_text(errors="replace") for path in logs if path.exists()]
        lines = [line for text in texts for line in text.splitlines()]
        return "\n".join([line for line in lines if not line.startswith("\t") and " INFO " not in line][-10:])
