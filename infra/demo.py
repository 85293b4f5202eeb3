"""`make demo`: a system of its own, every example through it, a table of what came of them.

Exits with 1 unless each example ends as `examples/expected.toml` says.
"""

import asyncio
import contextlib
import json
import logging
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
from confluent_kafka import Producer
from pydantic import BaseModel, ConfigDict
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from infra.commands.answers import verdict
from infra.commands.output import fail, say
from infra.commands.requests import of_directory
from infra.local import LocalCluster, NotRootError, PortTakenError, ServiceUserError
from infra.settings import LocalSettings
from ingest.client import Client, ClientError, RequestRefusedError
from nix.settings import NixSettings
from topics.kafka.clients import connection
from topics.request.limits import MiB
from topics.settings import KafkaSettings
from topics.submissions.stage import CompileStage, RunStage, StageResult
from topics.submissions.state import FINAL, Answer

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
THROUGH_KAFKA = "cpp"
"""The example that is also produced straight to `submissions.requests`, as other systems would."""
DATA_DIR = Path("/var/lib/envicutor-demo")
"""Where the demonstration keeps its data unless ENVICUTOR_DATA_DIR is set."""
ANSWER_TIMEOUT_S = 600.0
"""For each answer: on a new machine it waits for the builds of the others."""
_POLL_S = 0.2


class Expected(BaseModel):
    """What an example must end as; what is None may be anything."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    outcome: str
    explanation: str | None = None
    """Text that the explanation of failed dependencies contains."""
    limit_exceeded: str | None = None
    """Of the first test case, as the following."""
    stdout: str | None = None
    """Text that the output contains."""
    outputs: tuple[str, ...] | None = None
    """Names of the files that came back."""

    def differences(self, answer: Answer) -> list[str]:
        """What is not as expected."""
        first = answer.run[0] if answer.run else None
        explanation = (answer.dependencies and answer.dependencies.explanation) or ""
        wrong = []
        if verdict(answer) != self.outcome:
            wrong.append(f"expected {self.outcome}")
        if self.explanation and self.explanation not in explanation:
            wrong.append(f"explained by {explanation!r}")
        if self.limit_exceeded and (first is None or first.limit_exceeded != self.limit_exceeded):
            wrong.append(f"{self.limit_exceeded} was not exceeded")
        if self.stdout and (first is None or self.stdout not in first.stdout):
            wrong.append(f"did not print {self.stdout!r}")
        if self.outputs is not None and self.outputs != _names_of_outputs(first):
            wrong.append(f"brought the files {_names_of_outputs(first)}")
        return wrong


def _names_of_outputs(run: RunStage | None) -> tuple[str, ...]:
    return tuple(file.name for file in run.outputs if file.content is not None) if run else ()


@dataclass(frozen=True, slots=True)
class Example:
    """One submission of the demonstration."""

    name: str
    way: Literal["HTTP", "Kafka"]
    request: Mapping[str, Any]
    expected: Expected

    @property
    def label(self) -> str:
        """The name, with the way where it is not the usual one."""
        return self.name if self.way == "HTTP" else f"{self.name} ({self.way})"


def load_examples() -> list[Example]:
    """Every example, and the one that is sent both ways once more.

    Raises:
        KeyError: an example without expectation.
    """
    expected = tomllib.loads((EXAMPLES / "expected.toml").read_text())
    names = sorted(path.parent.name for path in EXAMPLES.glob("*/submission.json"))
    ways: list[tuple[str, Literal["HTTP", "Kafka"]]] = [(name, "HTTP") for name in names]
    return [
        Example(name, way, of_directory(EXAMPLES / name), Expected(**expected[name]))
        for name, way in [*ways, (THROUGH_KAFKA, "Kafka")]
    ]


def runnable(examples: Sequence[Example], nix: NixSettings) -> Iterator[Example]:
    """Those whose packages can be had here; says which are left out, and why."""
    settings = {"pypi": nix.pypi_index, "npm": nix.npm_registry}
    names = {"pypi": "ENVICUTOR_PYPI_INDEX", "npm": "ENVICUTOR_NPM_REGISTRY"}
    for example in examples:
        asked = example.request.get("dependencies", {})
        missing = [
            names[registry] for registry, address in settings.items() if asked.get(registry) and not address
        ]
        if missing:
            say(f"left out: {example.label}, since {' and '.join(missing)} are not set")
        else:
            yield example


def produce(kafka: KafkaSettings, request: Mapping[str, Any]) -> str:
    """Hand a request to Kafka with nothing of ours: the key is the id, the value the JSON of HTTP."""
    id = str(uuid.uuid4())
    producer = Producer(connection(kafka))
    producer.produce("submissions.requests", key=id, value=json.dumps(request))
    producer.flush(30)
    return id


async def follow(client: Client, id: str, name: str) -> Answer:
    """Tell every change of status until there is an answer.

    Raises:
        TimeoutError: there was none in time.
    """
    said, started = "", time.monotonic()
    while time.monotonic() - started < ANSWER_TIMEOUT_S:
        try:
            answer = await asyncio.to_thread(client.get, id)
        except RequestRefusedError as error:  # produced to Kafka, and not handled yet
            if error.status != 404:
                raise
        else:
            if said != (said := verdict(answer)):
                say(f"{time.monotonic() - started:6.1f} s  {name}: {said}")
            if answer.status in FINAL:
                return answer
        await asyncio.sleep(_POLL_S)
    raise TimeoutError(f"no answer after {ANSWER_TIMEOUT_S:.0f} s")


async def run_example(example: Example, url: str, kafka: KafkaSettings) -> Answer | str:
    """Its answer, or why there is none."""
    with Client(url) as client:
        try:
            if example.way == "HTTP":
                id = (await asyncio.to_thread(client.submit, example.request)).id
            else:
                id = await asyncio.to_thread(produce, kafka, example.request)
            return await follow(client, id, example.label)
        except (ClientError, TimeoutError) as error:
            return str(error)


async def run_examples(settings: LocalSettings, examples: Sequence[Example]) -> list[Answer | str]:
    """Start a system, run all examples side by side, stop it."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with LocalCluster(settings, say) as cluster:
        say(f"ready: {len(examples)} submissions to {cluster.url}")
        kafka = cluster.kafka
        return await asyncio.gather(*(run_example(example, cluster.url, kafka) for example in examples))


def report(examples: Sequence[Example], results: Sequence[Answer | str], console: Console) -> bool:
    """Print the table; whether all is as expected."""
    table = Table(box=box.SIMPLE)
    table.add_column("example", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    for column in ("dependencies", "compile", "run", "memory"):
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
    """Outcome, the three stages' times, the highest memory of all."""
    dependencies, compiled, runs = answer.dependencies, answer.compile, answer.run
    stages: list[StageResult] = [stage for stage in (compiled, *runs) if stage is not None]
    memory_bytes = max((stage.memory_bytes for stage in stages), default=0)
    waited = ""
    if dependencies:
        waited = "cached" if dependencies.cached else f"{dependencies.wall_time_s:.2f} s"
    return [
        verdict(answer),
        waited,
        _compiled(compiled) if compiled else "",
        f"{sum(run.wall_time_s for run in runs):.2f} s" if runs else "",
        f"{memory_bytes / MiB:.0f} MiB" if stages else "",
    ]


def _compiled(stage: CompileStage) -> str:
    return "cached" if stage.cached else f"{stage.wall_time_s:.2f} s"


def demo_settings() -> LocalSettings:
    """Return the settings of the environment; those not set keep clear of a system that runs already."""
    given = LocalSettings()
    apart = {"data_dir": DATA_DIR, "http_port": 0, "kafka_port": 0, "log_level": "ERROR"}
    return given.model_copy(
        update={name: value for name, value in apart.items() if name not in given.model_fields_set}
    )


def main(
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="What is kept between runs, so that the next one finds it installed; "
            f"else ENVICUTOR_DATA_DIR, or {DATA_DIR}."
        ),
    ] = None,
) -> None:
    """Run all examples on a system of their own."""
    logging.basicConfig(level=logging.WARNING)
    settings = demo_settings()
    if data_dir:
        settings = settings.model_copy(update={"data_dir": data_dir})
    started = time.monotonic()
    examples = list(runnable(load_examples(), NixSettings()))
    with contextlib.suppress(asyncio.CancelledError):
        try:
            results = asyncio.run(run_examples(settings, examples))
        except (NotRootError, PortTakenError, ServiceUserError) as error:
            fail(str(error), 1)
        good = report(examples, results, Console(width=None if sys.stdout.isatty() else 120))
        say(f"{'all as expected' if good else 'NOT as expected'}, in {time.monotonic() - started:.0f} s")
        raise typer.Exit(0 if good else 1)
    raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
