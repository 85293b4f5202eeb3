"""`envicutor doctor` on this machine, as it is and with things taken away."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from processors.sandbox import SandboxSettings
from tests.support.roles import environment_of
from tests.system.sandbox.conftest import settings as sandbox_settings

settings = sandbox_settings


@pytest.fixture
def environment(settings: SandboxSettings, cache_dir: Path) -> dict[str, str]:
    values = {
        "SANDBOX_STATE_DIR": settings.state_dir,
        "SANDBOX_FIRST_UID": settings.first_uid,
        "SANDBOX_BOXES": settings.boxes,
        "CACHE_DIR": cache_dir,
        "DATA_DIR": settings.state_dir / "data",
        "HTTP_PORT": 0,
        "KAFKA_PORT": 0,
    }
    return environment_of(**values)


def doctor(environment: dict[str, str], *options: str, **how: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "infra.cli", "doctor", *options],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **how,
    )


def missing(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    assert done.stderr == ""
    return {finding["name"]: finding["found"] for finding in json.loads(done.stdout) if not finding["ok"]}


def test_this_machine_is_well(environment: dict[str, str]) -> None:
    done = doctor(environment)
    assert done.returncode == 0, done.stdout
    assert "This machine can run Envicutor." in done.stdout
    assert "missing" not in done.stdout
    as_json = doctor(environment, "--json")
    assert as_json.returncode == 0
    assert {finding["name"] for finding in json.loads(as_json.stdout)} >= {"root", "control groups", "Nix"}


def test_a_state_folder_that_others_cannot_reach(environment: dict[str, str], tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    done = doctor(environment | {"ENVICUTOR_SANDBOX_STATE_DIR": str(tmp_path / "state")}, "--json")
    assert done.returncode == 1
    found = missing(done)
    assert set(found) == {"state folder", "a sandbox"}
    assert f"chmod o+x {tmp_path}" in found["state folder"]


def test_folders_that_other_accounts_can_enter(environment: dict[str, str], tmp_path: Path) -> None:
    for name, mode in (
        ("views", 0o755),
        ("kafka-2", 0o711),
        ("root", 0o700),
        ("secrets", 0o710),
        ("nix", 0o755),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(mode)
    found = missing(doctor(environment | {"ENVICUTOR_DATA_DIR": str(tmp_path)}, "--json"))
    assert found.get("closed folders") == f"other accounts can enter {tmp_path}/kafka-2, {tmp_path}/views"


def test_a_service_user_that_does_not_exist(environment: dict[str, str]) -> None:
    done = doctor(environment | {"ENVICUTOR_SERVICE_USER": "envicutr"}, "--json")
    assert done.returncode == 1
    assert missing(done) == {"service user": "there is no user envicutr"}


def test_control_groups_that_cannot_be_changed(environment: dict[str, str]) -> None:
    script = """
    grep -E ' - cgroup2? ' /proc/self/mountinfo | cut -d ' ' -f 5 | xargs -n 1 mount -o remount,bind,ro
    exec "$@"
    """
    argv = [sys.executable, "-m", "infra.cli", "doctor", "--json"]
    done = subprocess.run(
        ["unshare", "--mount", "bash", "-ec", script, "bash", *argv],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    found = missing(done)
    assert set(found) == {"control groups", "a sandbox"}
    assert "mount that file system writable" in found["control groups"]


def test_a_user_namespace(environment: dict[str, str]) -> None:
    argv = ["unshare", "--user", "--map-root-user", "--mount"]
    argv += [sys.executable, "-m", "infra.cli", "doctor", "--json"]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    found = missing(done)
    assert found["user ids"].startswith("not all ids from ")


def test_programs_that_are_not_there(environment: dict[str, str], tmp_path: Path) -> None:
    for name in ("unshare", "nix-store", "apt-get", "dpkg", "mvn"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    done = doctor(environment | {"PATH": str(tmp_path)}, "--json")
    assert done.returncode == 1
    found = missing(done)
    assert found["Nix"] == "nix-instantiate cannot be found"
    assert found["Java and Maven"] == "java cannot be found"
    assert "root" not in found


def test_without_privileges_it_says_so_and_looks_at_the_rest(environment: dict[str, str]) -> None:
    guard = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    reachable = subprocess.run(
        [*guard, sys.executable, "-c", "import infra.cli"], capture_output=True, check=False
    )
    if reachable.returncode != 0:
        pytest.skip("an unprivileged user cannot read this code")
    done = doctor(environment, "--json", user=65534, group=65534, extra_groups=())
    assert done.returncode == 1
    found = missing(done)
    assert found["root"] == "this is user 65534"
    assert "start the worker as root" in found["a sandbox"]
    assert not {"Nix", "overlayfs"} & set(found)
