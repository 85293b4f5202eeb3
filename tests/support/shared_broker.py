"""One broker for a whole test run, however many processes pytest-xdist makes of it.

The first process that needs it starts a keeper (`python -m tests.support.shared_broker`), which starts the
broker and ends it when no process holds the lock on `broker.users` any more. Locks end with their process: a
run that is killed leaves neither broker nor container behind.
"""

import fcntl
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from infra.kafka.embedded import EmbeddedKafka
from infra.kafka.install import install_kafka
from infra.settings import LocalSettings

_ROOT = Path(__file__).parents[2]

_WAIT_FOR_OTHERS_S = 30.0
"""How long the process that started the keeper waits for its end: others may still need the broker."""


@contextmanager
def shared_broker(folder: Path, kind: str) -> Iterator[str]:
    """The bootstrap servers of the run's broker; `folder` is the same for all processes of the run.

    `kind` is "container", "embedded", or "auto": the container where its image is there.
    """
    with (folder / "broker.users").open("w") as users:
        with (folder / "broker.start").open("w") as start:
            fcntl.flock(start, fcntl.LOCK_EX)
            fcntl.flock(users, fcntl.LOCK_SH)
            address = folder / "broker.address"
            keeper = None if _listens(address) else _start_keeper(folder, kind)
        yield address.read_text()
    if keeper:
        with suppress(subprocess.TimeoutExpired):
            keeper.wait(_WAIT_FOR_OTHERS_S)


def _listens(address: Path) -> bool:
    """False for the address that a killed keeper left, too."""
    try:
        host, port = address.read_text().split(":")
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError:
        return False
    return True


def _start_keeper(folder: Path, kind: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.support.shared_broker", str(folder), kind]
    keeper = subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert keeper.stdout
    with keeper.stdout:
        if keeper.stdout.readline() != "ready\n":
            raise RuntimeError(f"no broker could be started (exit code {keeper.wait()}), see standard error")
    return keeper


def _keep(folder: Path, kind: str) -> None:
    address = folder / "broker.address"
    with (folder / "broker.users").open("w") as users, _broker(folder / "broker", kind) as servers:
        address.write_text(servers)
        sys.stdout.write("ready\n")
        sys.stdout.close()
        fcntl.flock(users, fcntl.LOCK_EX)
        address.unlink()


@contextmanager
def _broker(data_dir: Path, kind: str) -> Iterator[str]:
    from tests.support.containers import KafkaContainer, image_is_there

    if kind == "container" or (kind == "auto" and image_is_there()):
        with KafkaContainer() as container:
            yield container.bootstrap_servers
    else:
        with EmbeddedKafka(data_dir, install_kafka(LocalSettings().cache_dir)) as broker:
            yield broker.bootstrap_servers
        shutil.rmtree(data_dir)


if __name__ == "__main__":
    _keep(Path(sys.argv[1]), sys.argv[2])
