"""One command per part of the system; each prints tables and writes `bench/PART.json`."""

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="Benchmarks.")
Rounds = Annotated[int, typer.Option(help="How often each thing is measured, in turn.", min=1)]


@app.callback()
def benchmarks() -> None:
    """Measure. Ratios within a run mean something; absolute times are the machine's, and its load's."""


@app.command()
def sandbox(rounds: Rounds = 10) -> None:
    """From a limit to the last process gone, what layers cost, what neighbours feel. Needs root."""
    from tests.benchmarks.sandbox import measure

    measure(rounds)


@app.command()
def answers(rounds: Rounds = 100) -> None:
    """From POST to answer, beside the plain program and the bare sandbox, and hop by hop. Needs root."""
    from tests.benchmarks.answers import measure

    measure(rounds)


@app.command()
def ratios(
    rounds: Rounds = 60,
    warm_up_s: Annotated[float, typer.Option(help="A fresh JVM compiles itself that long.", min=1)] = 60.0,
) -> None:
    """Ratios to the plain program and to bubblewrap, and fair turns; requests rotate. Needs root."""
    from tests.benchmarks.ratios import measure

    measure(rounds, warm_up_s)


@app.command()
def dependencies(
    rounds: Rounds = 3,
    package: Annotated[list[str] | None, typer.Option(help="Build these alone; may be repeated.")] = None,
) -> None:
    """First builds of environments, beside apt-get; found again; fetched from another host. Needs root."""
    from tests.benchmarks.dependencies import measure

    measure(rounds, package or ())


@app.command()
def throughput(rounds: Rounds = 3) -> None:
    """Answers per second at several concurrencies, and the CPU time of each role. Needs root."""
    from tests.benchmarks.throughput import measure

    measure(rounds)


@app.command()
def accepting(
    requests: Annotated[int, typer.Option(help="From Kafka.", min=1)] = 20_000,
) -> None:
    """Submissions accepted per second, and how soon under overload. Needs root."""
    from tests.benchmarks.accepting import measure

    measure(requests)


@app.command()
def compiling(rounds: Rounds = 10) -> None:
    """C++ compiled and run, for the first time and again. Needs root."""
    from tests.benchmarks.compiling import measure

    measure(rounds)


@app.command()
def flames() -> None:
    """A flame graph of each role under load. Needs root."""
    from tests.benchmarks.flames import measure

    measure()


@app.command("all")
def everything() -> None:
    """All of ratios, answers, throughput, accepting, compiling and flames, within fifteen minutes."""
    ratios()
    answers()
    throughput()
    accepting()
    compiling()
    flames()


@app.command()
def kafka(
    submissions: Annotated[int, typer.Option(help="On the log and in the store.", min=1)] = 100_000,
) -> None:
    """Requests and events per second, audits, and how soon each role is back. Needs root."""
    from tests.benchmarks.kafka import measure

    measure(submissions)


@app.command()
def store(
    submissions: Annotated[int, typer.Option(help="In the store, at most.", min=1000)] = 100_000,
) -> None:
    """What stored submissions cost ingest: memory, look-ups, restarts."""
    from tests.benchmarks.store_size import measure

    measure(submissions)


@app.command()
def memory(
    submissions: Annotated[int, typer.Option(help="That ingest answers.", min=1000)] = 20_000,
    minutes: Annotated[float, typer.Option(help="For which the system is idle before.", min=0)] = 3.0,
) -> None:
    """What an idle system, the first search of packages and answered submissions take. Needs root."""
    from tests.benchmarks.memory import measure

    measure(submissions, minutes)


@app.command()
def http(
    rounds: Rounds = 30,
    streams: Annotated[int, typer.Option(help="Event streams that are open at once.", min=1)] = 10_000,
) -> None:
    """From what a program prints to who follows it, alone and beside thousands of others. Needs root."""
    from tests.benchmarks.streams import measure

    measure(rounds, streams)


@app.command()
def scale(
    rounds: Rounds = 2,
    seed: Annotated[int, typer.Option(help="Of the moments at which submissions come.")] = 0,
    every: Annotated[bool, typer.Option(help="Also a group that hands nothing back.")] = False,
) -> None:
    """What more workers add, and how long short programs wait behind long ones; all of them only sleep."""
    from tests.benchmarks.scale import measure

    measure(rounds, seed, every=every)


if __name__ == "__main__":
    app()
