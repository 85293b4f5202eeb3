"""Output files of an answer, written to a directory."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from envicutor_client.content import decoded
from envicutor_client.models import Answer


def check_new(directory: Path) -> None:
    """Check that a directory is new or empty. A program chooses the names of its output files.

    Raises:
        ValueError: output files could overwrite others.
    """
    if directory.exists() and not (directory.is_dir() and not any(directory.iterdir())):
        raise ValueError(f"{directory} exists already: name a new directory, or an empty one")


def write(answer: Answer, directory: Path) -> Iterator[Path]:
    """Write the output files that have content, and yield their paths.

    The files of several test cases go to the folders `1`, `2` and so on.

    Raises:
        ValueError: a name leads out of the directory.
        OSError: a file cannot be written, or exists already.
    """
    for number, run in enumerate(answer.run, 1):
        below = directory if len(answer.run) == 1 else directory / str(number)
        for file in run.outputs:
            _check_name(file.name)
        for file in run.outputs:
            if file.content is not None:
                path = below / file.name
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("xb") as target:
                    target.write(decoded(file.content, "base64"))
                yield path


def _check_name(name: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name or not path.parts:
        raise ValueError(f"file name {name!r} leads out of the directory")
