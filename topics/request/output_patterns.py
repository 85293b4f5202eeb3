"""Output files: which a submission may ask back, and how much of them."""

from topics.request.file_names import name_problem
from topics.request.limits import MiB

OUTPUT_PATTERNS = 32
"""Patterns of one request."""
OUTPUT_DEPTH = 32
"""Folders between /box and an output file, and components of a pattern."""
OUTPUT_FILES = 64
"""Files of one test case that are told of; the ones that the first patterns ask for come first."""
OUTPUT_FILE_BYTES = 2 * MiB
"""A larger file is told of without its content."""


def check_output_pattern(pattern: str) -> str:
    """Accept what would be a file name, of which `*`, `?` and a component `**` mean more than themselves.

    Raises:
        ValueError: naming the pattern and why it is refused.
    """
    problem = name_problem(pattern)
    if problem is None and pattern.count("/") >= OUTPUT_DEPTH:
        problem = f"has more than {OUTPUT_DEPTH} components"
    if problem is not None:
        raise ValueError(f"output {pattern!r} {problem}")
    return pattern
