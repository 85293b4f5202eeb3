"""`envicutor binary-cache-key`: what builders sign with, and what every host believes."""

import subprocess
from pathlib import Path
from typing import Annotated

import typer

from infra.commands.output import fail, say


def binary_cache_key(
    file: Annotated[Path, typer.Argument(help="Where the secret key goes; builders alone need it.")],
    name: Annotated[str, typer.Option(help="Names the key in signatures.")] = "envicutor-1",
) -> None:
    """Make a key for the binary cache: the secret half into FILE, the public half is printed.

    Set ENVICUTOR_BINARY_CACHE_SECRET_KEY_FILE to FILE where there are cache builders, and
    ENVICUTOR_BINARY_CACHE_PUBLIC_KEY to what is printed on every host.
    """
    if file.exists():
        fail(f"{file} exists: what it signed would be believed no more", 2)
    if ":" in name or not name:
        fail("--name: a name without colon is needed", 2)
    command = ["nix-store", "--generate-binary-cache-key", name, str(file), "/dev/stdout"]
    try:
        made = subprocess.run(command, check=True, capture_output=True, text=True)
        file.chmod(0o600)
    except (OSError, subprocess.CalledProcessError) as error:
        fail(f"the key could not be made: {getattr(error, 'stderr', '') or error}", 1)
    say(f"the secret key is in {file}; ENVICUTOR_BINARY_CACHE_PUBLIC_KEY is")
    typer.echo(made.stdout.strip())
