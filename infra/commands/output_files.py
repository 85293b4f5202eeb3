"""Output files of an answer, on this machine."""

import base64
from collections.abc import Iterator
from pathlib import Path

from topics.request.file_names import check_file_names
from topics.submissions.state import Answer


def check_new(directory: Path) -> None:
    """Raise ValueError unless files can be written there without a program choosing what they overwrite."""
    if directory.exists() and not (directory.is_dir() and not any(directory.iterdir())):
        raise ValueError(f"{directory} is there already: name a new directory, or an empty one")


def write(answer: Answer, directory: Path) -> Iterator[Path]:
    """Write the files that came; those of several test cases go below `1`, `2` and so on.

    Raises:
        ValueError: a name leads out of the directory, or is of both a file and a folder.
        OSError: it cannot be written, or is there already.
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
