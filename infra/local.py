"""Cluster on one machine: embedded brokers and one process per role instance."""

import asyncio
import json
import logging
import os
import pwd
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Self

import httpx

from infra.accounts import close, close_to_others, give_to, make_folder
from infra.credentials import Credentials, environment
from infra.kafka.cluster import local_brokers
from infra.kafka.embedded import HEAP_BYTES, SUPER_USER, Distribution, EmbeddedKafka
from infra.kafka.gateway.settings import GatewaySettings
from infra.kafka.install import install_kafka
from infra.kafka.keeper import keep_alive
from infra.kafka.ports import choose_free_port, claim, is_free
from infra.kafka.properties import replicas_of
from infra.kafka.tls import Tls
from infra.package_sets import ensure_package_sets, prebuilt_environments, request_environments
from infra.secret_files import write_secret
from infra.service_user import can_run, guard_command, role_umask, service_account
from infra.settings import LocalSettings
from infra.supervisor import Program, Supervisor, write_pid
from ingest.settings import IngestSettings
from nix.binary_cache import checked_secret_key_file
from nix.settings import NixSettings
from processors.sandbox import SandboxSettings
from processors.webhooks.signing import new_secret
from topics.audit.signing import FOLDER
from topics.catalogue import Catalogue, catalogue
from topics.kafka.admin import ensure_topics
from topics.settings import KafkaSettings
from topics.topic import Topic

log = logging.getLogger(__name__)

STOP_TIMEOUT_S = 9.0
"""Time in which all processes together must stop. `envicutor up` promises ten seconds."""
READY_TIMEOUT_S = 600.0
"""Time until a submission can run, at most: ten times the build of the base environment on a slow machine."""
_ALLOCATOR = {"MALLOC_ARENA_MAX": "2"}
"""Variables of the C library in each role. By default each of some 15 threads gets an arena of its own, whose
freed memory no other thread uses. An operator's own value wins."""
_SOURCE = Path(__file__).resolve().parent.parent


class NotRootError(Exception):
    """This process is not root. Workers need root for mounts, control groups and user ids of sandboxes."""


class PortTakenError(Exception):
    """Another server listens on the HTTP port. It would answer the readiness check of this system."""


class LocalCluster:
    """All processes of a system, started and stopped together.

    Use it from the main thread: the kernel kills processes when the thread that started them ends.
    """

    def __init__(self, settings: LocalSettings, progress: Callable[[str], None]) -> None:
        """Describe a cluster without starting it. `progress` receives a line at each slow step."""
        self._settings, self._progress = settings, progress
        self._ingest = IngestSettings(http_port=settings.http_port or choose_free_port())
        self._run_dir = settings.data_dir / "run"
        self._root_data_dir = settings.data_dir / "root"
        """Folder of the views of roles that run as root. No other user can place links in it."""
        self._supervisor = Supervisor(self._run_dir)
        self._claim: socket.socket | None = None
        """Claim on the HTTP port, held until ingest listens on it and beyond."""
        self._brokers: list[EmbeddedKafka] = []
        self._credentials: Credentials | None = None
        self._broker_watchers: list[asyncio.Task[None]] = []

    @property
    def http_port(self) -> int:
        """HTTP port that ingest listens on."""
        return self._ingest.http_port

    @property
    def requires_keys(self) -> bool:
        """True if HTTP requests need an API key."""
        return self._ingest.http_keys

    @property
    def url(self) -> str:
        """URL that ingest answers at."""
        return self._ingest.url

    @property
    def kafka(self) -> KafkaSettings:
        """Kafka settings of the super user, who has every right."""
        return self._kafka_as(SUPER_USER)

    @property
    def client_bootstrap_servers(self) -> str:
        """Return the bootstrap servers for other systems."""
        return ",".join(broker.bootstrap_servers for broker in self._brokers)

    def _kafka_as(self, user: str) -> KafkaSettings:
        plain = KafkaSettings(
            bootstrap_servers=",".join(broker.roles_servers for broker in self._brokers),
            security_protocol="PLAINTEXT",  # a variable of the environment concerns another system
            replication_factor=replicas_of(len(self._brokers)),
            data_dir=self._settings.data_dir,
        )
        return self._credentials.settings(plain, user) if self._credentials else plain

    async def start(self) -> None:
        """Start all processes, and return once a submission can run.

        Raises:
            NotRootError: this process is not root.
            PortTakenError: another server has the HTTP port.
            ServiceUserError: the system user of the settings does not exist.
            KafkaStartError, KafkaInstallError, CacheError: a part cannot start. The message has the remedy.
            KafkaException: the broker refused a request, or did not answer it.
            EnvironmentsFileError: the list of environments to prebuild cannot be read.
            TimeoutError: the system was not ready after ten minutes.
        """
        self._claim = claim(self.http_port)
        if self._claim is None or not is_free(self.http_port, self._ingest.http_host):
            where = f"port {self.http_port} of {self._ingest.http_host}"
            raise PortTakenError(f"{where} is in use, maybe by another system: set ENVICUTOR_HTTP_PORT")
        if os.geteuid() != 0:
            raise NotRootError("run as root: workers need it for mounts, control groups and user ids")
        environments = prebuilt_environments(self._settings)
        nix = NixSettings(nix_root=self._settings.data_dir / "nix", cache_dir=self._settings.cache_dir)
        if nix.binary_cache_dir:
            checked_secret_key_file(nix)
        user = self._make_folders()
        self._progress("looking for Kafka's jars (fetched once)")
        distribution = await asyncio.to_thread(install_kafka, self._settings.cache_dir)
        await self._start_brokers(user, distribution)
        topics = catalogue(self.kafka)
        if self._credentials:
            self._progress("putting users and rights in force")
            self._credentials.put_in_force(self._brokers[0].admin_connection, self.kafka, topics)
        ensure_topics(self.kafka, self._topics(topics))
        pin = await asyncio.to_thread(ensure_package_sets, self.kafka, topics, nix, self._progress)
        for program in self._programs(user):
            self._supervisor.start(program)
        request_environments(self.kafka, topics, pin, environments)
        await self._wait_ready()

    async def stop(self) -> None:
        """Stop all processes within ten seconds."""
        if self._brokers:
            self._progress("stopping")
        for watcher in self._broker_watchers:
            watcher.cancel()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        await self._supervisor.stop(STOP_TIMEOUT_S - 2)
        for broker in self._brokers:
            broker.terminate()
        for number, broker in enumerate(self._brokers):
            broker.stop(max(1.0, deadline - time.monotonic()))
            self._pid_file(number).unlink(missing_ok=True)
        if self._claim:
            self._claim.close()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.stop()

    # -- parts ---------------------------------------------------------------------------------------

    def _topics(self, topics: Catalogue) -> tuple[Topic, ...]:
        """Return the topics to create.

        Requests stay compressed behind a gateway, since the gateway checks their unpacked sizes. Without one
        the broker unpacks them.
        """
        behind = self._credentials is not None
        requests = replace(topics.requests, compression="producer") if behind else topics.requests
        return tuple(requests if topic is topics.requests else topic for topic in topics.topics())

    def _make_folders(self) -> str | None:
        """Make the folders, and close them to other accounts even if an earlier version made them.

        Returns the name of the user that roles run as, or None if they run as root.

        Raises:
            ServiceUserError: the system user of the settings does not exist.
        """
        settings = self._settings
        account = service_account(settings.service_user)
        make_folder("DATA_DIR", settings.data_dir, mode=0o711)
        make_folder("CACHE_DIR", settings.cache_dir)
        self._run_dir.mkdir(exist_ok=True)
        views = settings.data_dir / "views"
        faust = settings.data_dir / "faust"
        sealer = settings.data_dir / FOLDER
        for folder in (views, faust, sealer, self._root_data_dir):
            folder.mkdir(exist_ok=True)
        for folder in (views, faust, sealer, self._root_data_dir, self._run_dir):
            close(folder)
        close_to_others(settings.data_dir)  # what is not used now as well, such as secrets
        if account and not can_run(account, settings.data_dir):
            log.warning(
                "user %s cannot read this code: roles run as root without capabilities", account.pw_name
            )
            account = None
        for folder in (views, faust, sealer):
            give_to(account or pwd.getpwuid(0), folder)
        return account.pw_name if account else None

    async def _start_brokers(self, user: str | None, distribution: Distribution) -> None:
        settings = self._settings
        if settings.secure:
            account = pwd.getpwnam(user) if user else None
            self._credentials = Credentials(settings.data_dir / "secrets", account)
        self._brokers = local_brokers(
            settings.data_dir,
            distribution,
            count=settings.brokers,
            port=settings.kafka_port,
            user=user,
            tls=self._credentials.tls if self._credentials else None,
            heap_bytes=HEAP_BYTES + (_requests_under_way_bytes() if self._credentials else 0),
            runs_on=settings.runs_on,
        )
        self._progress(
            "starting the broker" if settings.brokers == 1 else f"starting {settings.brokers} brokers"
        )
        for number, broker in enumerate(self._brokers):
            broker.launch()
            assert broker.process is not None
            write_pid(self._pid_file(number), broker.process.pid)
        for number, broker in enumerate(self._brokers):
            await asyncio.to_thread(broker.wait_until_ready)
            watcher = asyncio.create_task(keep_alive(broker, self._pid_file(number)))
            self._broker_watchers.append(watcher)

    def _pid_file(self, number: int) -> Path:
        return self._run_dir / f"broker-{number}.pid"

    def _programs(self, user: str | None) -> Iterator[Program]:
        settings = self._settings
        if self._credentials:
            yield self._gateway(user, self._credentials.tls)
        for n in range(settings.store_processors):
            yield self._program("submission-store", n, user, stop_order=1)
            yield self._program("build-store", n, user, stop_order=1)
        for n in range(settings.health_checkers):
            yield self._program("health-checker", n, user, ("submissions", "dependencies"))
        yield self._program("request-handler", 0, user)
        yield self._program("sealer", 0, user)
        yield self._program("ingest", 0, user)
        if self.kafka.webhook_allow:
            self._make_webhook_secret(user)
            yield self._program("webhook-sender", 0, user)
        for n in range(settings.cache_builders):
            yield self._program("cache-builder", n, "root")
        for n in range(settings.workers):
            yield self._program("worker", n, "root")

    @property
    def _webhook_secret(self) -> Path:
        return self._settings.data_dir / "secrets" / "webhook.secret"

    def _make_webhook_secret(self, user: str | None) -> None:
        """Make the secret that signs webhooks unless it exists. Receivers verify signatures with it."""
        folder = self._webhook_secret.parent
        folder.mkdir(exist_ok=True)
        close(folder, pwd.getpwnam(user) if user else None)
        if not self._webhook_secret.exists():
            owner = pwd.getpwnam(user) if user else None
            write_secret(self._webhook_secret, f"{new_secret()}\n".encode(), owner)

    def _gateway(self, user: str | None, tls: Tls) -> Program:
        """Return the gateway process, which stands between clients and brokers."""
        ports = {broker.port: broker.gateway.behind_port for broker in self._brokers if broker.gateway}
        variables = {
            "PORTS": json.dumps(ports),
            "CERTIFICATE_FILE": str(tls.member_file),
            "CA_FILE": str(tls.ca_file),
            "LARGEST_BATCH_BYTES": str(catalogue(self.kafka).requests.max_message_bytes),
        }
        environment = self._environment("gateway", user) | {
            f"ENVICUTOR_GATEWAY_{name}": value for name, value in variables.items()
        }
        argv = [*guard_command(user), sys.executable, "-m", "infra.kafka.gateway"]
        return Program("kafka-gateway", argv, environment, stop_order=1, umask=role_umask(user))

    def _program(
        self,
        role: str,
        instance: int,
        user: str | None,
        arguments: tuple[str, ...] = (),
        *,
        stop_order: int = 0,
    ) -> Program:
        name = f"{role}-{instance}"
        # Other roles recover their state by instance. A health checker has none, and there is one sealer.
        identity = () if role == "sealer" else ("--instance", str(instance))
        argv = [sys.executable, "-m", "infra.cli", role, *(arguments or identity)]
        environment = self._environment(role, user)
        return Program(
            name,
            [*guard_command(user), *argv],
            environment,
            stop_order,
            folders=self._written_at_start(role),
            umask=role_umask(user),
        )

    def _written_at_start(self, role: str) -> tuple[Path, ...]:
        data_dir = self._settings.data_dir
        with_sandboxes = (self._root_data_dir, data_dir / "nix", SandboxSettings().state_dir)
        return with_sandboxes if role in ("worker", "cache-builder") else (data_dir / "views",)

    def _environment(self, role: str, user: str | None) -> dict[str, str]:
        """Return the environment of a role: the operator's variables and those that `up` decides."""
        kafka = self._kafka_as(role)
        decided = environment(kafka) | {
            "REPLICATION_FACTOR": kafka.replication_factor,
            "DATA_DIR": self._root_data_dir if user == "root" else self._settings.data_dir,
            "CACHE_DIR": self._settings.cache_dir,
            "NIX_ROOT": self._settings.data_dir / "nix",
            "SANDBOX_CACHE_DIR": self._settings.cache_dir,
            "DISK_FOLDERS": json.dumps([str(folder) for folder in self._disk_folders()]),
            "HTTP_PORT": self._ingest.http_port,
            "LOG_LEVEL": self._settings.log_level,
        }
        return (
            {"ENVICUTOR_WEBHOOK_SECRET_FILE": str(self._webhook_secret)}
            | _ALLOCATOR
            | dict(os.environ)
            | {f"ENVICUTOR_{name}": str(value) for name, value in decided.items()}
            | {"PYTHONPATH": str(_SOURCE), "PYTHONUNBUFFERED": "1"}
        )

    def _disk_folders(self) -> list[Path]:
        """Return the folders that grow with use, of all roles; each may be a file system of its own."""
        data_dir, cache_dir = self._settings.data_dir, self._settings.cache_dir
        logs = [broker.data_dir for broker in self._brokers]
        return [*logs, data_dir / "views", data_dir / "nix", cache_dir]

    async def _wait_ready(self) -> None:
        reported, deadline = "", time.monotonic() + READY_TIMEOUT_S
        async with httpx.AsyncClient(base_url=self.url, trust_env=False) as client:
            while time.monotonic() < deadline:
                try:
                    answer = await client.get("/ready")
                    missing = "" if answer.is_success else answer.json()["detail"].removeprefix("not ready: ")
                except httpx.TransportError:
                    missing = "HTTP"
                if not missing:
                    return
                if missing != reported:
                    self._progress(f"waiting for {missing}")
                    reported = missing
                await asyncio.sleep(0.1)
        raise TimeoutError(f"not ready after {READY_TIMEOUT_S} s: waiting for {reported}")


def _requests_under_way_bytes() -> int:
    """Return the memory of a broker that simultaneous requests of all clients can take."""
    return GatewaySettings().connections * catalogue(KafkaSettings()).requests.max_message_bytes
