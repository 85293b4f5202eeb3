"""Processes of roles, as an operator starts them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from topics.settings import KafkaSettings

Process = subprocess.Popen[bytes]


def environment_of(**settings: object) -> dict[str, str]:
    """Return this process's environment with these settings, which are named as the fields are."""
    return os.environ | {f"ENVICUTOR_{name.upper()}": _text(value) for name, value in settings.items()}


def role_environment(kafka: KafkaSettings, **settings: object) -> dict[str, str]:
    """Return the environment of a process with all that `kafka` was made with, and with more settings."""
    return environment_of(**kafka.model_dump(exclude_unset=True) | settings)


def start_role(*arguments: str, environment: dict[str, str], log: Path | None = None) -> Process:
    """Start `envicutor` with these arguments; its output goes to the end of `log`."""
    command = [sys.executable, "-m", "infra.cli", *arguments]
    if log is None:
        return subprocess.Popen(command, env=environment)
    with log.open("ab") as file:
        return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file)


@contextmanager
def running_roles(kafka: KafkaSettings, *names: str, **settings: object) -> Iterator[list[Process]]:
    """Start these roles, each with a data folder of its own below that of `kafka`; kill them at the end."""
    processes: list[Process] = []
    try:
        for name in names:
            environment = role_environment(kafka, **settings | {"data_dir": kafka.data_dir / name})
            processes.append(start_role(name, environment=environment))
        yield processes
    finally:
        kill(processes)


def kill(processes: list[Process]) -> None:
    """Kill processes, and wait for their end."""
    for process in processes:
        process.kill()
    for process in processes:
        process.wait()


def _text(value: object) -> str:
    return str(value) if isinstance(value, str | Path) else json.dumps(value)
