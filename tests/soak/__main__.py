"""`python -m tests.soak PART`, or `make soak-PART`; the exit code says whether all was as promised."""

import sys
from typing import Annotated

import typer

BEFORE_DISPATCH = "95574c6"
"""The last commit whose store processor enqueues every submission at once."""
app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="Soaks.")


@app.callback()
def soaks() -> None:
    """Each part starts a cluster of its own, and leaves nothing behind. Needs root."""


@app.command()
def dependencies(
    environments: Annotated[
        int, typer.Option(help="Different ones, half more than there is room for.")
    ] = 100,
    limit_mib: Annotated[int, typer.Option(help="Of the Cache.")] = 2048,
    clients: Annotated[int, typer.Option(help="Submissions that wait for one build.")] = 1000,
) -> None:
    """A Cache with room for some of its environments, while submissions run; then one build for very many."""
    from tests.soak.dependencies import soak

    sys.exit(1 if soak(environments, limit_mib << 20, clients) else 0)


@app.command()
def costly(
    size: Annotated[int, typer.Option(help="Of the requests, in bytes.")] = 1 << 20,
    steps: Annotated[int, typer.Option(help="Requests that are tried.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the search.")] = 1,
    ratio: Annotated[float, typer.Option(help="Most times the CPU time of an ordinary request.")] = 5.0,
) -> None:
    """Search for the request that costs most for its bytes."""
    from tests.soak.costly import Shape, search

    def found(times: float, shape: Shape) -> None:
        typer.echo(f"{times:6.1f} times: {shape.place}{shape.item[:100]}, at most {shape.most}")

    sys.exit(1 if search(size, steps, seed, found) > ratio else 0)


@app.command()
def upgrade(
    before: Annotated[str, typer.Option(help="Commit of the earlier version.")] = BEFORE_DISPATCH,
) -> None:
    """A rolling upgrade under load, from an earlier version to the commit that is checked out."""
    from tests.soak.upgrade import soak

    complaints = soak(before)
    typer.echo("\n".join(complaints[:50]) if complaints else "nothing was lost")
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    app()
