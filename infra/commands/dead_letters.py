"""`envicutor dead-letters`: records that could not be read or accepted."""

import sys
from typing import Annotated

import typer
from confluent_kafka import KafkaException, Message

from envicutor_client.cli.answers import printable
from infra.commands.broker import BootstrapServers, connect, no_answer
from infra.commands.output import USAGE, fail
from topics.audit.dead_letters import (
    Bytes,
    DescribedDeadLetter,
    NotRetriableError,
    describe,
    find_dead_letter,
    original,
    read_dead_letters,
    retry,
)
from topics.catalogue import catalogue
from topics.settings import KafkaSettings

app = typer.Typer(no_args_is_help=True, help="Show and retry records that could not be read or accepted.")


LetterPosition = Annotated[
    str, typer.Argument(help="PARTITION/OFFSET, as `list` shows it.", metavar="LETTER")
]
LetterPositions = Annotated[list[str], typer.Argument(help="PARTITION/OFFSET of each.", metavar="LETTER...")]


@app.command(name="list")
def list_all(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per line, with all bytes.")
    ] = False,
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """List dead letters: position, time, origin, key and reason, one per line.

    Exit codes: 0 ok, 7 Kafka does not answer.
    """
    kafka = connect(bootstrap_servers)
    try:
        for message in read_dead_letters(kafka, catalogue(kafka)):
            letter = describe(message)
            typer.echo(letter.model_dump_json() if as_json else line(letter))
    except KafkaException as error:
        no_answer(kafka, error)


@app.command()
def show(
    letter: LetterPosition,
    value: Annotated[bool, typer.Option("--value", help="Print only the bytes of the value.")] = False,
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """Print a dead letter as JSON: reason, key, headers and value. Bytes that are not UTF-8 are in base64.

    Exit codes: 0 ok, 2 there is no such letter, 7 Kafka does not answer.
    """
    message = _find(connect(bootstrap_servers), letter)
    if not value:
        typer.echo(describe(message).model_dump_json(indent=2))
        return
    raw = message.value() or b""
    sys.stdout.buffer.write(raw if isinstance(raw, bytes) else raw.encode())


@app.command(name="retry")
def retry_some(letters: LetterPositions, bootstrap_servers: BootstrapServers = None) -> None:
    """Produce records again, unchanged, to the topics that they came from. Only requests and webhooks can be.

    Exit codes: 0 ok, 2 a letter does not exist or cannot be retried (then none is), 7 Kafka does not answer.
    """
    kafka = connect(bootstrap_servers)
    topics = catalogue(kafka)
    try:
        records = [original(topics, _find(kafka, letter)) for letter in letters]
        for letter, position in zip(letters, retry(kafka, records), strict=True):
            typer.echo(f"{letter} was produced again, to {position}")
    except NotRetriableError as error:
        fail(str(error), USAGE)
    except KafkaException as error:
        no_answer(kafka, error)


def line(letter: DescribedDeadLetter) -> str:
    """Return a dead letter as a line of text."""
    text = f"{letter.letter:10}  {letter.time}  {letter.origin:32}  {_text(letter.key):36}  {letter.reason}"
    return printable(text.replace("\n", " "))


def _text(raw: Bytes | None) -> str:
    if raw is None:
        return "-"
    return raw.content if raw.encoding == "utf8" else f"base64:{raw.content}"


def _find(kafka: KafkaSettings, letter: str) -> Message:
    try:
        message = find_dead_letter(kafka, catalogue(kafka), letter)
    except ValueError:
        fail(f"{letter!r} is not PARTITION/OFFSET, as `envicutor dead-letters list` shows it", USAGE)
    except KafkaException as error:
        no_answer(kafka, error)
    if message is None:
        fail(f"there is no dead letter {letter}; they are kept for 30 days", USAGE)
    return message
