"""One command per part of the system; each prints tables and writes `bench-results/PART.json`."""

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
    from infra.bench.sandbox import measure

    measure(rounds)


@app.command()
def dependencies(rounds: Rounds = 3) -> None:
    """Environments built, found again, and fetched from another host. Needs root."""
    from infra.bench.dependencies import measure

    measure(rounds)


if __name__ == "__main__":
    app()
