"""`envicutor binary-cache-key`: key pair that builders sign with and all hosts verify with."""

import subprocess
from pathlib import Path
from typing import Annotated

import typer

from infra.commands.output import fail, print_note


def binary_cache_key(
    file: Annotated[Path, typer.Argument(help="New file for the secret key. Only builders need it.")],
    name: Annotated[str, typer.Option(help="Name of the key in signatures.")] = "envicutor-1",
) -> None:
    """Make a key pair for the binary cache. Write the secret key to FILE and print the public key.

    Set ENVICUTOR_BINARY_CACHE_SECRET_KEY_FILE to FILE on hosts with cache builders. Set
    ENVICUTOR_BINARY_CACHE_PUBLIC_KEY to the printed key on every host.

    Exit codes: 0 ok, 1 the key could not be made, 2 FILE exists already, or the name is wrong.
    """
    if file.exists():
        fail(f"{file} exists: hosts would no longer trust the environments that it signed", 2)
    if ":" in name or not name:
        fail("--name: a name without a colon is needed", 2)
    command = ["nix-store", "--generate-binary-cache-key", name, str(file), "/dev/stdout"]
    try:
        made = subprocess.run(command, check=True, capture_output=True, text=True)
        file.chmod(0o600)
    except (OSError, subprocess.CalledProcessError) as error:
        fail(f"the key could not be made: {getattr(error, 'stderr', '') or error}", 1)
    print_note(f"the secret key is in {file}; ENVICUTOR_BINARY_CACHE_PUBLIC_KEY is")
    typer.echo(made.stdout.strip())
