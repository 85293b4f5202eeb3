"""Output files: patterns by which a submission asks for them, and their bounds."""

from topics.request.file_names import name_problem
from topics.request.limits import MiB

OUTPUT_PATTERNS = 32
"""Patterns of one request."""
OUTPUT_DEPTH = 32
"""Folders between /box and an output file, and components of a pattern."""
OUTPUT_FILES = 64
"""Files of one test case that are reported; files that match the first patterns come first."""
OUTPUT_FILE_BYTES = 2 * MiB
"""Largest file that is reported with its content; a larger one is reported without."""


def check_output_pattern(pattern: str) -> str:
    """Return the pattern if it is a file name, in which `*`, `?` and a component `**` are wildcards.

    Raises:
        ValueError: the pattern is refused; the message has the pattern and the reason.
    """
    problem = name_problem(pattern)
    if problem is None and pattern.count("/") >= OUTPUT_DEPTH:
        problem = f"has more than {OUTPUT_DEPTH} components"
    if problem is not None:
        raise ValueError(f"output {pattern!r} {problem}")
    return pattern
