"""`envicutor run`: run a file with a program, in the language that its name shows."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from envicutor_client import Client
from envicutor_client.calls import with_id
from envicutor_client.cli.client import Server, client
from envicutor_client.cli.output import USAGE, fail, reason
from envicutor_client.cli.submit import OutputDir, check_output_dir, end, interruptible
from envicutor_client.cli.watch import follow
from envicutor_client.content import read_bounded, read_file
from envicutor_client.errors import NoSuchLanguageError
from envicutor_client.languages import find, of_file
from envicutor_client.models import Language
from envicutor_client.programs import ProgramOptions, program


def run(
    file: Annotated[Path, typer.Argument(help="File with the program.")],
    args: Annotated[
        list[str] | None,
        typer.Argument(help="Arguments of the program, after -- if any begins with -."),
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="Language, see `languages`. Default: by the suffix of FILE.")
    ] = None,
    package: Annotated[
        list[str] | None, typer.Option(help="Debian package that the program needs. Repeat for several.")
    ] = None,
    pypi: Annotated[
        list[str] | None, typer.Option(help="Package of PyPI, such as requests==2.32.5. Repeat for several.")
    ] = None,
    package_set: Annotated[
        str | None, typer.Option(help="Package set that the packages are taken from, such as debian-13.")
    ] = None,
    time: Annotated[
        float | None, typer.Option(help="Limit of wall time and of CPU time, in seconds.", metavar="SECONDS")
    ] = None,
    output: Annotated[
        list[str] | None,
        typer.Option(help="Pattern of files for --output-dir. Repeat for several. Default: all files."),
    ] = None,
    output_dir: OutputDir = None,
    server: Server = None,
) -> None:
    """Run a file with a program, and print its output as it arrives.

    Standard input is sent to the program, unless it is a terminal.

    Examples: `envicutor run main.cpp`; `envicutor run --package python3-matplotlib --output-dir new plot.py`.

    Exit codes: those of `submit`.
    """
    if output and output_dir is None:
        fail("--output needs --output-dir, which names the new directory for the files", USAGE)
    options: ProgramOptions = {"source": file.name, "args": args or ()}
    options |= {"packages": package or (), "pypi": pypi or ()}
    if package_set is not None:
        options["package_set"] = package_set
    if time is not None:
        options["time_s"] = time
    if output_dir is not None:
        options["outputs"] = output or ["**"]
    try:
        code = read_file(file)
        if not sys.stdin.isatty():
            options["input"] = read_bounded(sys.stdin.buffer, "standard input")
        check_output_dir(output_dir)
    except (ValueError, OSError) as error:
        fail(reason(error), USAGE)
    with client(server) as connected:
        request = with_id(program(code, _language(connected, file.name, language), options))
        with interruptible(request["id"]):
            id = connected.submit(request, interactive=True).id
            answer = follow(connected, id, as_json=False)
    end(answer, output_dir)


def _language(connected: Client, file: str, name: str | None) -> Language:
    known = connected.languages()
    try:
        return find(known, name) if name else of_file(known, file)
    except NoSuchLanguageError as error:
        fail(f"{error}; choose one with --language", USAGE)
