"""Magic of notebooks: `%load_ext envicutor_client.magic`, then a cell that begins with `%%envicutor`."""

import sys
from typing import Any

from IPython.core.error import UsageError
from IPython.core.getipython import get_ipython
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring
from IPython.display import display

from envicutor_client.errors import ClientError, RequestRefusedError
from envicutor_client.languages import find
from envicutor_client.programs import ProgramOptions, program
from envicutor_client.results import RunResult
from envicutor_client.synchronous import Client

IMAGES = ("*.png", "*.svg", "*.jpg", "*.gif")
"""Output files that are displayed, unless the cell asks for others."""


@magic_arguments()
@argument("--language", default="python", help="Language of the cell, by default python.")
@argument("--package", action="append", help="Debian package that the cell needs, such as python3-numpy.")
@argument("--pypi", action="append", help="Package of PyPI, such as requests==2.32.5.")
@argument("--input", default="", help="Standard input of the program.")
@argument("--output", action="append", help="Pattern of output files, by default those of images.")
@argument("--time", type=float, help="Limit of wall time and of CPU time, in seconds.")
@argument("--server", help="URL of the server, by default ENVICUTOR_SERVER.")
@argument("--name", default="_envicutor", help="Variable that is set to the result.")
def envicutor(line: str, cell: str) -> None:
    """Run the cell on a server of Envicutor, and display its output and images."""
    given = parse_argstring(envicutor, line)
    try:
        with Client(given.server) as client:
            result = _run(client, given, cell)
    except RequestRefusedError as error:
        raise UsageError("; ".join([str(error), *map(str, error.errors)])) from error
    except ClientError as error:
        raise UsageError(str(error)) from error
    _show(result)
    get_ipython().user_ns[given.name] = result


def load_ipython_extension(shell: Any) -> None:
    """Register the magic; IPython calls this function."""
    shell.register_magic_function(envicutor, magic_kind="cell")


def _run(client: Client, given: Any, code: str) -> RunResult:
    """Run the code, and print its output as it arrives."""
    options: ProgramOptions = {"packages": given.package or (), "pypi": given.pypi or ()}
    options |= {"input": given.input, "outputs": given.output or IMAGES}
    if given.time is not None:
        options["time_s"] = given.time
    language = find(client.languages(), given.language)
    id = client.submit(program(code, language, options), interactive=True).id
    for printed in client.stream(id):
        (sys.stdout if printed.source.stream == "stdout" else sys.stderr).write(printed.text)
    return RunResult(client.get(id))


def _show(result: RunResult) -> None:
    for image in result.images:
        display(image)
    if not result.ok:
        reasons = filter(None, [f"{result.verdict}: exit code {result.exit_code}", result.explanation])
        sys.stderr.write("\n".join(reasons) + "\n")
