"""A system without `up`: `envicutor init` on a broker of one's own, then each role (docs/operate.md)."""

import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from infra.kafka.ports import choose_free_port
from infra.service_user import can_run, guard_command, service_account
from processors.sandbox.mounts import mounts_below
from tests.support.polling import eventually
from tests.support.roles import environment_of, kill

READY_S = 120.0
END_S = 60.0
AS_ROOT = (("worker",), ("cache-builder",))
AS_SERVICE_USER = (
    *(("submission-store",), ("build-store",), ("request-handler",), ("sealer",), ("ingest",)),
    ("health-checker", "submissions", "dependencies"),
)
ENVICUTOR = (sys.executable, "-m", "infra.cli")


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that all users can pass through, as sandboxes must."""
    folder = Path(tempfile.mkdtemp(prefix="envicutor-own-broker-"))
    folder.chmod(0o755)
    yield folder
    for mounted in mounts_below(folder):  # left by a worker that was killed
        subprocess.run(["umount", mounted], check=True)
    shutil.rmtree(folder)


def is_ready(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"{url}/ready", trust_env=False).is_success
    return False


def test_init_and_roles_on_a_broker_of_ones_own(
    kafka: str, topic_prefix: str, folder: Path, cache_dir: Path
) -> None:
    port = choose_free_port()
    environment = environment_of(
        bootstrap_servers=kafka,
        topic_prefix=topic_prefix,
        cache_dir=cache_dir,
        nix_root=folder / "nix",
        sandbox_cache_dir=cache_dir,
        sandbox_state_dir=folder / "sandboxes",
        sandbox_first_uid=1_940_000_000,
        http_port=port,
    )
    init = [*ENVICUTOR, "init"]
    pins = [subprocess.run(init, env=environment, check=True, stdout=subprocess.PIPE).stdout for _ in "12"]
    assert pins[0] == pins[1] != b""

    account = service_account("envicutor")
    assert account
    user = account.pw_name if can_run(account, folder) else None
    (folder / "data").mkdir()
    shutil.chown(folder / "data", user or "root")
    started = []
    try:
        for roles, user_of_roles, data_dir in (
            (AS_SERVICE_USER, user, folder / "data"),
            (AS_ROOT, "root", folder / "root"),
        ):
            for role in roles:
                command = [*guard_command(user_of_roles), *ENVICUTOR, *role]
                started.append(subprocess.Popen(command, env=environment | environment_of(data_dir=data_dir)))
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: is_ready(url), "the system is ready", READY_S)
        answer = httpx.post(
            f"{url}/submissions",
            params={"wait": "true"},
            json={"run": "echo hello"},
            timeout=READY_S,
            trust_env=False,
        ).json()
        assert (answer["outcome"], answer["run"][0]["stdout"]) == ("ok", "hello\n")
        for process in started:
            process.send_signal(signal.SIGTERM)
        assert [process.wait(END_S) for process in started] == [0] * len(started)
    finally:
        kill(started)
