"""`make demo`: start a separate system, run every example on it, print a table of the results.

The command exits with 1 unless each example ends as `examples/expected.toml` expects.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import time
import tomllib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from confluent_kafka import KafkaException, Producer
from pydantic import BaseModel, ConfigDict
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from envicutor_client import Client, ClientError, RequestRefusedError
from envicutor_client.cli.answers import outcome_or_status
from envicutor_client.cli.requests import read_directory
from envicutor_client.models import FINAL, Answer, CompileStage, RunStage, StageResult
from infra.api_keys import put_key
from infra.commands.output import fail, print_note
from infra.commands.removed_settings import removed
from infra.local import LocalCluster, NotRootError, PortTakenError
from infra.service_user import ServiceUserError
from infra.settings import LocalSettings
from nix.settings import NixSettings
from topics.catalogue import catalogue
from topics.kafka.clients import connection
from topics.request.limits import MiB
from topics.security.api_keys import ApiKey, Scope, digest, new_id, new_key
from topics.settings import KafkaSettings
from topics.times import now, now_ms, rfc3339

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
THROUGH_KAFKA = "cpp"
"""The example that is also produced directly to `submissions.requests`, as other systems do."""
DATA_DIR = Path("/var/lib/envicutor-demo")
"""Data folder of the demonstration unless ENVICUTOR_DATA_DIR is set."""
ANSWER_TIMEOUT_S = 600.0
"""Time that each answer may take. On a new machine an example waits for the builds of the others."""
_POLL_S = 0.2
_KEY_VALID_MS = 3_600_000
"""Time after which the API key of a demonstration expires."""
_KEY_TIMEOUT_S = 30.0
"""Time in which the server must accept a new API key; it takes milliseconds."""


class Expected(BaseModel):
    """Expected result of an example. A field that is None allows any value."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    outcome: str
    explanation: str | None = None
    """Text that the explanation of failed dependencies contains."""
    limit_exceeded: str | None = None
    """Limit that the first test case exceeds."""
    stdout: str | None = None
    """Text that the standard output of the first test case contains."""
    outputs: tuple[str, ...] | None = None
    """Names of the output files of the first test case that have content."""

    def differences(self, answer: Answer) -> list[str]:
        """Return the differences between an answer and this expectation, for people."""
        first = answer.run[0] if answer.run else None
        explanation = (answer.dependencies and answer.dependencies.explanation) or ""
        wrong = []
        if outcome_or_status(answer) != self.outcome:
            wrong.append(f"expected {self.outcome}")
        if self.explanation and self.explanation not in explanation:
            wrong.append(f"explained by {explanation!r}")
        if self.limit_exceeded and (first is None or first.limit_exceeded != self.limit_exceeded):
            wrong.append(f"{self.limit_exceeded} was not exceeded")
        if self.stdout and (first is None or self.stdout not in first.stdout):
            wrong.append(f"did not print {self.stdout!r}")
        if self.outputs is not None and self.outputs != _names_of_outputs(first):
            wrong.append(f"returned the files {_names_of_outputs(first)}")
        return wrong


def _names_of_outputs(run: RunStage | None) -> tuple[str, ...]:
    return tuple(file.name for file in run.outputs if file.content is not None) if run else ()


@dataclass(frozen=True, slots=True)
class Example:
    """A submission of the demonstration: its request, its way into the system, its expected result."""

    name: str
    way: Literal["HTTP", "Kafka"]
    request: Mapping[str, Any]
    expected: Expected

    @property
    def label(self) -> str:
        """Name of the example, with its way into the system unless that is HTTP."""
        return self.name if self.way == "HTTP" else f"{self.name} ({self.way})"


def load_examples() -> list[Example]:
    """Return all examples over HTTP, and one of them over Kafka as well.

    Raises:
        KeyError: an example has no expectation.
    """
    expected = tomllib.loads((EXAMPLES / "expected.toml").read_text())
    names = sorted(path.parent.name for path in EXAMPLES.glob("*/submission.json"))
    ways: list[tuple[str, Literal["HTTP", "Kafka"]]] = [(name, "HTTP") for name in names]
    return [
        Example(name, way, read_directory(EXAMPLES / name), Expected(**expected[name]))
        for name, way in [*ways, (THROUGH_KAFKA, "Kafka")]
    ]


def runnable(examples: Sequence[Example], nix: NixSettings) -> Iterator[Example]:
    """Yield the examples whose registries are configured here. Print each omitted one with the reason."""
    settings = {"pypi": nix.pypi_index, "npm": nix.npm_registry}
    names = {"pypi": "ENVICUTOR_PYPI_INDEX", "npm": "ENVICUTOR_NPM_REGISTRY"}
    for example in examples:
        asked = example.request.get("dependencies", {})
        missing = [
            names[registry] for registry, address in settings.items() if asked.get(registry) and not address
        ]
        if missing:
            print_note(f"omitted: {example.label}, since {' and '.join(missing)} are not set")
        else:
            yield example


def produce(kafka: KafkaSettings, request: Mapping[str, Any]) -> str:
    """Produce a request to Kafka without code of this project, and return its id.

    The key is the id. The value is the JSON that HTTP accepts.
    """
    id = str(uuid.uuid4())
    producer = Producer(connection(kafka))
    producer.produce(catalogue(kafka).requests.name, key=id, value=json.dumps(request))
    producer.flush(30)
    return id


def make_key(url: str, kafka: KafkaSettings) -> str:
    """Store a new API key that may read all submissions, and return it once the server accepts it.

    Raises:
        KafkaException: the broker has not acknowledged the key.
        TimeoutError: the server does not accept it.
    """
    key = new_key()
    scopes = (Scope.SUBMIT, Scope.READ, Scope.READ_ALL)  # what is produced to Kafka belongs to no key
    expires_at = rfc3339(now_ms() + _KEY_VALID_MS)
    record = ApiKey(id=new_id(), name="demo", scopes=scopes, created_at=now(), expires_at=expires_at)
    put_key(kafka, digest(key), record)
    deadline = time.monotonic() + _KEY_TIMEOUT_S
    with Client(url, key) as client:
        while time.monotonic() < deadline:
            try:
                client.get(str(uuid.uuid4()))
            except RequestRefusedError as error:
                if error.status == 404:
                    return key
            time.sleep(_POLL_S)
    raise TimeoutError(f"the server does not accept a new key within {_KEY_TIMEOUT_S:.0f} s")


async def follow(client: Client, id: str, name: str) -> Answer:
    """Print each change of status until the submission ends, and return the answer.

    Raises:
        TimeoutError: the submission has not ended in time.
    """
    printed, started = "", time.monotonic()
    while time.monotonic() - started < ANSWER_TIMEOUT_S:
        try:
            answer = await asyncio.to_thread(client.get, id)
        except RequestRefusedError as error:  # 404: the request handler has not consumed it yet
            if error.status != 404:
                raise
        else:
            if printed != (printed := outcome_or_status(answer)):
                print_note(f"{time.monotonic() - started:6.1f} s  {name}: {printed}")
            if answer.status in FINAL:
                return answer
        await asyncio.sleep(_POLL_S)
    raise TimeoutError(f"no answer after {ANSWER_TIMEOUT_S:.0f} s")


async def run_example(example: Example, url: str, key: str | None, kafka: KafkaSettings) -> Answer | str:
    """Return the answer to an example, or the reason why there is none. `key` is None without API keys."""
    with Client(url, key) as client:
        try:
            if example.way == "HTTP":
                id = (await asyncio.to_thread(client.submit, example.request)).id
            else:
                id = await asyncio.to_thread(produce, kafka, example.request)
            return await follow(client, id, example.label)
        except (ClientError, TimeoutError) as error:
            return str(error)


async def run_examples(settings: LocalSettings, examples: Sequence[Example]) -> list[Answer | str]:
    """Start a system, run all examples at the same time, and stop the system."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with LocalCluster(settings, print_note) as cluster:
        print_note(f"ready: {len(examples)} submissions to {cluster.url}")
        url, kafka = cluster.url, cluster.kafka
        key = await asyncio.to_thread(make_key, url, kafka) if cluster.requires_keys else None
        return await asyncio.gather(*(run_example(example, url, key, kafka) for example in examples))


def report(examples: Sequence[Example], results: Sequence[Answer | str], console: Console) -> bool:
    """Print a table of the results, and return whether all are as expected."""
    table = Table(box=box.SIMPLE)
    table.add_column("example", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    for column in ("waited for dependencies", "compile", "run", "memory"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("as expected")
    good = True
    for example, result in zip(examples, results, strict=True):
        wrong = [result] if isinstance(result, str) else example.expected.differences(result)
        cells = ["no answer", *[""] * 4] if isinstance(result, str) else _cells(result)
        mark = Text("no: " + "; ".join(wrong), "red") if wrong else Text("yes", "green")
        table.add_row(example.label, *cells, mark)
        good = good and not wrong
    console.print(table)
    return good


def _cells(answer: Answer) -> list[str]:
    """Return outcome, times of the three stages, and the highest memory of all stages."""
    dependencies, compiled, runs = answer.dependencies, answer.compile, answer.run
    stages: list[StageResult] = [stage for stage in (compiled, *runs) if stage is not None]
    memory_bytes = max((stage.memory_bytes for stage in stages), default=0)
    waited = ""
    if dependencies:
        waited = "cached" if dependencies.cached else f"{dependencies.wall_time_s:.2f} s"
    return [
        outcome_or_status(answer),
        waited,
        _compiled(compiled) if compiled else "",
        f"{sum(run.wall_time_s for run in runs):.2f} s" if runs else "",
        f"{memory_bytes / MiB:.0f} MiB" if stages else "",
    ]


def _compiled(stage: CompileStage) -> str:
    return "cached" if stage.cached else f"{stage.wall_time_s:.2f} s"


def demo_settings() -> LocalSettings:
    """Return the settings of the environment. Defaults differ from those of a system that runs already."""
    given = LocalSettings()
    apart = {"data_dir": DATA_DIR, "http_port": 0, "kafka_port": 0, "log_level": "ERROR", "runs_on": False}
    return given.model_copy(
        update={name: value for name, value in apart.items() if name not in given.model_fields_set}
    )


def main(
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="Data folder, kept between runs so that the next run finds environments installed. "
            f"Default: ENVICUTOR_DATA_DIR, or {DATA_DIR}.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run all examples on a separate system, and print a table of the results."""
    logging.basicConfig(level=logging.WARNING)
    if reason := removed(os.environ):
        fail(reason, 2)
    settings = demo_settings()
    if data_dir:
        settings = settings.model_copy(update={"data_dir": data_dir})
    started = time.monotonic()
    examples = list(runnable(load_examples(), NixSettings()))
    with contextlib.suppress(asyncio.CancelledError):
        try:
            results = asyncio.run(run_examples(settings, examples))
        except (NotRootError, PortTakenError, ServiceUserError, KafkaException, TimeoutError) as error:
            fail(str(error), 1)
        good = report(examples, results, Console(width=None if sys.stdout.isatty() else 120))
        print_note(
            f"{'all as expected' if good else 'NOT as expected'}, in {time.monotonic() - started:.0f} s"
        )
        raise typer.Exit(0 if good else 1)
    raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
