"""Output files of an answer, written to a directory."""

import base64
from collections.abc import Iterator
from pathlib import Path

from topics.request.file_names import check_file_names
from topics.submissions.state import Answer


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
        ValueError: a name leads out of the directory, or names both a file and a folder.
        OSError: a file cannot be written, or exists already.
    """
    for number, run in enumerate(answer.run, 1):
        below = directory if len(answer.run) == 1 else directory / str(number)
        check_file_names([file.name for file in run.outputs])
        for file in run.outputs:
            if file.content is not None:
                path = below / file.name
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("xb") as target:
                    target.write(base64.b64decode(file.content))
                yield path
