"""A whole system as an operator starts it: `envicutor up`, with folders and ports of its own."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from tests.support.polling import eventually
from tests.support.roles import environment_of, role_environment
from tests.system.cluster.processes import ancestors, running
from topics.catalogue import Catalogue, catalogue
from topics.kafka.codec import decode
from topics.kafka.scan import read_to_end
from topics.settings import KafkaSettings
from topics.submissions.state import Submission

READY_S = 240.0
"""Ten times what a start with all caches filled takes."""
ANSWER_S = 120.0
"""Ten times what recovering from a kill takes; a submission that is lost would never be answered."""
STOP_S = 10.0
"""What `up` promises."""

NUMPY = {"packages": ["python3", "python3-numpy"]}


class Cluster:
    """The processes of one `up`, and a client."""

    def __init__(
        self,
        folder: Path,
        cache_dir: Path,
        *options: str,
        settings: Mapping[str, object] | None = None,
        code: Path | None = None,
    ) -> None:
        """`options` are of `envicutor up`, `settings` of all roles, without their prefix.

        `code` is a source tree of another version, which its processes run.
        """
        self._code = code
        self._folder, self._cache_dir, self._options = folder, cache_dir, options
        self._settings = settings or {}
        self.first_uid = 1_920_000_000 + os.getpid() % 1000 * 10_000
        self.log = folder / "up.log"
        self.nix_root = folder / "data" / "nix"
        self._ready = threading.Event()

    def start(self) -> None:
        settings: dict[str, object] = {
            "DATA_DIR": self._folder / "data",
            "CACHE_DIR": self._cache_dir,
            "HTTP_PORT": 0,
            "KAFKA_PORT": 0,
            "GRACE_S": 2,
            "SANDBOX_STATE_DIR": self._folder / "sandboxes",
            "SANDBOX_FIRST_UID": self.first_uid,
            "WORKER_SLOTS": 2,
            "SEAL_PERIOD_S": 1,
            "RUNS_ON": False,
        }
        self.environment = environment_of(**settings | dict(self._settings))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "infra.cli", "up", *self._options],
                # The working directory comes first where modules are looked for.
                cwd=self._folder if self._code else None,
                env=self.environment | ({"PYTHONPATH": str(self._code)} if self._code else {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        url, servers = self._wait_ready()
        self.http = httpx.Client(base_url=url, timeout=ANSWER_S, trust_env=False)
        secure = "--secure" in self._options
        self.kafka = (
            self.kafka_as("operator", servers) if secure else KafkaSettings(bootstrap_servers=servers)
        )
        self.topics: Catalogue = catalogue(self.kafka)

    @property
    def secrets(self) -> Path:
        return self._folder / "data" / "secrets"

    def kafka_as(self, user: str, servers: str, password_file: Path | None = None) -> KafkaSettings:
        """Of a system with users."""
        return KafkaSettings(
            bootstrap_servers=servers,
            security_protocol="SASL_SSL",
            ssl_ca_file=self.secrets / "ca.pem",
            sasl_username=user,
            sasl_password_file=password_file or self.secrets / f"{user}.password",
        )

    def command(self, *arguments: str, user: str = "operator") -> subprocess.CompletedProcess[str]:
        """One of `envicutor`, with the settings that `up` wrote for that operator."""
        settings = (line.split("=", 1) for line in (self.secrets / f"{user}.env").read_text().splitlines())
        return subprocess.run(
            [sys.executable, "-m", "infra.cli", *arguments],
            env=os.environ | dict(settings),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def _wait_ready(self) -> tuple[str, str]:
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline and self.process.poll() is None:
            found = re.findall(r"ready: HTTP on (\S+) .*Kafka on (\S+);", self.log.read_text())
            if found:
                url, servers = found[-1]
                return str(url), str(servers)
            time.sleep(0.1)
        raise AssertionError(f"the system did not become ready:\n{self.log.read_text()[-5000:]}")

    def stop(self) -> float:
        """SIGTERM; how long it took to end, in seconds."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_S * 3)
        finally:
            self.process.kill()
            self.process.wait()
        return time.monotonic() - started

    # -- processes -----------------------------------------------------------------------------------

    def pid(self, name: str) -> int:
        return int((self._folder / "data" / "run" / f"{name}.pid").read_text())

    def kill(self, name: str) -> int:
        """kill -9; the process id that is gone."""
        return self.signal(name, signal.SIGKILL)

    def signal(self, name: str, number: signal.Signals) -> int:
        """The process id that it was sent to."""
        pid = self.pid(name)
        os.kill(pid, number)
        return pid

    @contextmanager
    def paused(self, *names: str) -> Iterator[None]:
        """They do nothing within the context, and are not dead."""
        pids = [self.signal(name, signal.SIGSTOP) for name in names]
        try:
            yield
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def worker_of(self, *command: str) -> str | None:
        """The name of the worker that runs this command now, such as worker-0."""
        started_as = re.compile(re.escape("".join(f"{argument}\0" for argument in command).encode()))
        workers = {int(file.read_text()): file.stem for file in self._folder.glob("data/run/worker-*.pid")}
        found = (pid for program in running(started_as) for pid in ancestors(program) if pid in workers)
        return next((workers[pid] for pid in found), None)

    def restarted(self, name: str, old_pid: int) -> None:
        """Wait until the supervisor has started it again."""
        eventually(lambda: self.pid(name) != old_pid, f"{name} is started again", 60)

    def is_ready(self) -> bool:
        """Whether HTTP answers, and a submission can run."""
        with suppress(httpx.TransportError):  # ingest is being started again
            return self.http.get("/ready").is_success
        return False

    # -- submissions ---------------------------------------------------------------------------------

    def post(self, request: dict[str, Any], **parameters: Any) -> httpx.Response:
        return self.http.post("/submissions", json=request, params=parameters)

    def submit(self, request: dict[str, Any]) -> str:
        """Post without waiting; the id."""
        answer = self.post(request)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Post and wait for the answer."""
        answer = self.post(request, wait="true", wait_timeout_s=ANSWER_S)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def get(self, id: str) -> dict[str, Any]:
        answer = self.http.get(f"/submissions/{id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def stored(self, id: str) -> Submission:
        """All that the store has of it, the end if it has ended: the answer may be there before."""
        has_ended = self.get(id)["finished_at"] is not None

        def row() -> Submission | None:
            messages = read_to_end(self.kafka, self.topics.submissions.store.name)
            rows = [decode(Submission, m.value()) for m in messages if m.key() == id.encode()]
            return rows[-1] if rows and (rows[-1].final or not has_ended) else None

        found: Submission = eventually(row, "the store has a row", ANSWER_S)
        return found

    def finished(self, id: str, timeout_s: float = ANSWER_S) -> dict[str, Any]:
        """Wait until nothing will change any more."""
        eventually(lambda: self.get(id)["finished_at"], f"{id} ends", timeout_s)
        return self.get(id)

    def verify(self) -> subprocess.CompletedProcess[str]:
        """`envicutor audit verify`."""
        return subprocess.run(
            [sys.executable, "-m", "infra.cli", "audit", "verify"],
            # The sealer's key is in the data folder.
            env=role_environment(self.kafka, data_dir=self._folder / "data"),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
