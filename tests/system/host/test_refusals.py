"""A role that would give wrong answers on this host ends with the reason, and `doctor` says the same."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from processors.sandbox import SandboxSettings
from tests.support.roles import environment_of
from tests.system.sandbox.conftest import settings as sandbox_settings

settings = sandbox_settings
DEADLINE_S = 90
ENVICUTOR = [sys.executable, "-m", "infra.cli"]
NOEXEC = [
    "unshare",
    "--mount",
    "sh",
    "-ec",
    'mount -t tmpfs -o noexec,mode=755 tmpfs "$1"; shift; exec "$@"',
    "sh",
]


@pytest.fixture
def environment(settings: SandboxSettings, cache_dir: Path) -> Iterator[dict[str, str]]:
    with tempfile.TemporaryDirectory(prefix="envicutor-host-") as folder:
        Path(folder).chmod(0o755)
        Path(folder, "nix").mkdir()
        values = {
            "SANDBOX_STATE_DIR": settings.state_dir,
            "SANDBOX_FIRST_UID": settings.first_uid,
            "SANDBOX_BOXES": settings.boxes,
            "CACHE_DIR": cache_dir,
            "DATA_DIR": folder,
            "NIX_ROOT": Path(folder, "nix"),
            "BOOTSTRAP_SERVERS": "127.0.0.1:1",
            "HTTP_PORT": 0,
            "KAFKA_PORT": 0,
        }
        yield environment_of(**values)


@contextmanager
def ended(argv: list[str], environment: dict[str, str]) -> Iterator[tuple[int | None, str]]:
    """How a command ended, None if it did not end by itself, and what it said."""
    with subprocess.Popen(
        argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process.wait(DEADLINE_S), process.communicate()[0]
        except subprocess.TimeoutExpired:
            process.kill()
            yield None, process.communicate()[0]


@pytest.mark.parametrize("role", ["worker", "cache-builder"])
def test_a_role_whose_environments_are_mounted_noexec(environment: dict[str, str], role: str) -> None:
    nix_root = environment["ENVICUTOR_NIX_ROOT"]
    with ended([*NOEXEC, nix_root, *ENVICUTOR, role], environment) as (exit_code, said):
        assert exit_code == 1
    assert f"programs of environments cannot be executed: one below ENVICUTOR_NIX_ROOT = {nix_root}" in said
    assert "not mounted noexec" in said
    assert "Traceback" not in said


def test_a_cache_builder_that_cannot_change_its_root(environment: dict[str, str]) -> None:
    argv = ["setpriv", "--bounding-set=-sys_chroot", "--inh-caps=-all", *ENVICUTOR, "cache-builder"]
    with ended(argv, environment) as (exit_code, said):
        assert exit_code == 1
    assert "the capability SYS_CHROOT, with which Nix builds in a root of its own, is missing" in said


def test_a_worker_without_boxes_for_its_slots(environment: dict[str, str]) -> None:
    with ended([*ENVICUTOR, "worker"], environment | {"ENVICUTOR_WORKER_SLOTS": "200"}) as (exit_code, said):
        assert exit_code == 1
    assert "200 slots need 400 boxes, for programs and their checkers, and have 32: set " in said


def missing(argv: list[str], environment: dict[str, str]) -> dict[str, str]:
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=120)
    return {finding["name"]: finding["found"] for finding in json.loads(done.stdout) if not finding["ok"]}


def test_doctor_finds_the_same(environment: dict[str, str]) -> None:
    doctor = [*ENVICUTOR, "doctor", "--json"]
    found = missing([*NOEXEC, environment["ENVICUTOR_NIX_ROOT"], *doctor], environment)
    assert "not mounted noexec" in found.get("a sandbox", "")
    taken = {"ENVICUTOR_SANDBOX_FIRST_UID": "1000", "ENVICUTOR_SANDBOX_BOXES": "256"}
    taken["ENVICUTOR_WORKER_SLOTS"] = "200"
    found = missing(["setpriv", "--bounding-set=-kill", "--inh-caps=-all", *doctor], environment | taken)
    for check in ("capabilities", "a sandbox"):
        assert "the capability KILL" in found.get(check, ""), check
    assert "200 slots need 400 boxes" in found.get("boxes", "")
    assert "have user ids from 1000 to 66535" in found.get("user ids", "")
