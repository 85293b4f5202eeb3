"""Examples of requests in the OpenAPI document; each is a whole request that runs as it is."""

from typing import Any

_DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGP4z8DwHwAFAAH/iZk9HQAAAABJRU5ErkJggg=="
"""A PNG of one pixel, in base64."""

REQUESTS: dict[str, dict[str, Any]] = {
    "script": {
        "summary": "A shell script in the base environment",
        "value": {"run": "echo hello"},
    },
    "judge": {
        "summary": "Test cases with points, of which one is hidden",
        "description": "Standard output is compared with `expected_output`. A trailing blank or a missing "
        "newline makes no difference. All cases run, also after one has failed; with `stop_at_first_failure` "
        "those after it are `not_run`. `run[].verdict` is the result of each case, `score` the sum of the "
        "points.",
        "value": {
            "run": 'read a b; echo "$((a + b)) "',
            "test_cases": [
                {"input": "1 2\n", "expected_output": "3", "points": 40},
                {"input": "20 22\n", "expected_output": "42\n", "points": 60, "hidden": True},
            ],
            "limits": {"run": {"cpu_time_s": 1, "memory_bytes": 67108864}},
        },
    },
    "floats": {
        "summary": "Numbers that may differ by a little",
        "value": {
            "run": "echo 0.3333333",
            "test_cases": [{"expected_output": "0.33333333\n"}],
            "comparison": {"mode": "floats", "absolute": 1e-6, "relative": 0},
        },
    },
    "checker": {
        "summary": "A program that decides whether the output is right",
        "description": "The checker finds the input, the output and the expected output in three files, "
        "whose names are its arguments. It accepts by exit code 0 and refuses by 1.",
        "value": {
            "run": "printf '3\\n1\\n2\\n'",
            "test_cases": [{"expected_output": "1\n2\n3\n"}],
            "comparison": {"mode": "checker", "run": 'sort -n "$2" | cmp -s - "$3"'},
        },
    },
    "png": {
        "summary": "An image sent as a file, and a file sent back",
        "description": "Bytes that are no text are sent in base64. `outputs` names the files to send back; "
        "`GET /submissions/{id}/outputs/0/copy.png` returns one.",
        "value": {
            "files": [{"name": "dot.png", "content": _DOT, "encoding": "base64"}],
            "run": ["cp", "dot.png", "copy.png"],
            "outputs": ["copy.png"],
        },
    },
    "packages": {
        "summary": "Python with a Debian package",
        "value": {
            "files": [{"name": "main.py", "content": "import numpy\nprint(numpy.arange(3).sum())\n"}],
            "dependencies": {"packages": ["python3", "python3-numpy"]},
            "run": "python3 main.py",
        },
    },
    "language": {
        "summary": "One file in a language of `GET /languages`",
        "value": {"language": "python", "files": [{"name": "main.py", "content": "print(6 * 7)\n"}]},
    },
}
"""Examples of a request, by name, as OpenAPI has them in `examples`."""
