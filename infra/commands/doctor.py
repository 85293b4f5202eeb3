"""`envicutor doctor`: checks of this machine's features, with a remedy for each that is missing."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from envicutor_client.cli.answers import printable
from infra.host import checks_of
from infra.host.check import Finding, examine
from infra.settings import LocalSettings
from processors.sandbox import SandboxSettings


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check that this machine can run `envicutor up` with the present settings. Run it as root.

    The command makes the cache and state folders, and tries a sandbox as a worker does at its start.

    Exit codes: 0 all required features are there, 1 one is missing.
    """
    local = LocalSettings()
    sandbox = SandboxSettings().model_copy(update={"cache_dir": local.cache_dir})  # as `up` sets it
    findings = examine(checks_of(local, sandbox))
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        console = Console(highlight=False)
        for text in report(findings):
            console.print(text, soft_wrap=True)
    raise typer.Exit(0 if is_well(findings) else 1)


def is_well(findings: Sequence[Finding]) -> bool:
    """Return whether all required checks succeeded."""
    return all(finding.ok for finding in findings if finding.required)


def report(findings: Sequence[Finding]) -> Iterator[Text]:
    """Yield the findings for people: each check, its use, and the remedy if it failed."""
    for finding in findings:
        mark, style = _mark(finding)
        yield Text.assemble((f"{mark:9}", style), (finding.name, "bold"), f": {printable(finding.found)}")
        yield Text(f"         for: {finding.why}", "dim")
        if not finding.ok:
            yield Text(f"         do:  {finding.how}", style)
    missing = [finding.name for finding in findings if finding.required and not finding.ok]
    if missing:
        yield Text(f"\nThis machine cannot run Envicutor yet; missing: {', '.join(missing)}", "bold red")
    else:
        yield Text("\nThis machine can run Envicutor.", "bold green")


def _mark(finding: Finding) -> tuple[str, str]:
    if finding.ok:
        return "ok", "green"
    return ("missing", "red") if finding.required else ("note", "yellow")
