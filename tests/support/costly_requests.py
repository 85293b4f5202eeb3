"""Requests of the same size: an ordinary one, and those that a search found to cost most for their bytes."""

import json
import os
from collections.abc import Callable
from functools import cache
from itertools import count, islice

RATIO = float(os.environ.get("COSTLY_RATIO", "10"))
"""How many times the cost of an ordinary request of 1 MiB each of these may have.

Five times is promised, and `make soak-http` asserts it; processors differ too much to assert it everywhere.
"""

BYTES = int(os.environ.get("COSTLY_BYTES", 1 << 20))
"""Size of the requests that are compared."""

_TEXT = "for line in open(0): print(line)\n"


def ordinary(size: int) -> bytes:
    """Return a request of about `size` bytes, half of it in files and half in test cases."""
    pairs = range(size // 8192)
    files = [{"name": f"src/part{number}.py", "content": _TEXT * 115} for number in pairs]
    cases = [{"input": "1 2 3\n" * 300, "expected_output": "6\n" * 700} for _ in pairs]
    return json.dumps({"run": "python3 src/part0.py", "files": files, "test_cases": cases}).encode()


@cache
def costly(size: int) -> dict[str, bytes]:
    """Return requests of at most `size` bytes by what they have much of; some of them are valid."""

    def filled(first: str, item: str | Callable[[int], str], last: str, most: int | None = None) -> bytes:
        return fill(size, first, item, last, most)

    x = '{"run":"x",'
    return {
        "numbers as tags": filled(x + '"tags":[', "1", "]}"),
        "empty tags": filled(x + '"tags":[', '""', "]}"),
        "objects as test cases": filled(x + '"test_cases":[', '{"":0}', "]}"),
        "files without names": filled(x + '"files":[', "{}", "]}"),
        "words": filled('{"run":[', '""', "]}"),
        "words of a test case": filled(x + '"test_cases":[{"args":[', '""', "]}]}"),
        "bad names of variables": filled(x + '"env":{', '"{:x}":""'.format, "}}"),
        "bad values of variables": filled(x + '"env":{', '"a{:x}":1'.format, "}}"),
        "one bad variable repeated": filled(x + '"env":{', '"":1', "}}"),
        "variables": filled(x + '"env":{', '"a{:x}":""'.format, "}}", 30_000),
        "unknown fields": filled(x, '"{:x}":1'.format, "}"),
        "unknown limits": filled(x + '"limits":{"run":{', '"{:x}":1'.format, "}}}"),
        "unknown fields of dependencies": filled(x + '"dependencies":{', '"{:x}":1'.format, "}}"),
        "unknown fields of a file": filled(x + '"files":[{', '"{:x}":1'.format, "}]}"),
        "unknown fields of a test case": filled(x + '"test_cases":[{', '"{:x}":1'.format, "}]}"),
        "empty arrays": filled(x + '"unknown":[', "[]", "]}"),
        "fewer empty arrays": filled('{"run":[', "[]", "]}", 8_000),
        "arrays in arrays": filled(x + '"unknown":[', "[" * 150 + "]" * 150, "]}"),
        "objects in objects": filled(x + '"unknown":[', '{"":' * 150 + "0" + "}" * 150, "]}"),
        "digits": filled(x + '"unknown":[', "9" * 4_200, "]}"),
        "escapes": b'{"run":"%s"}' % (rb"\u0001" * (size // 6 - 10)),
        "an unknown name of escapes": b'{"run":"x","%s":1}' % (rb"\u0001" * (size // 6 - 10)),
        "bad base64": filled(x + '"files":[{"name":"a","encoding":"base64","content":"', "A" * 4_000, '"}]}'),
        "garbage after values": filled(x + '"unknown":[', "{}", "]}.", 8_000),
        "files": filled(
            x + '"files":[', '{{"name":"{}","content":"61","encoding":"hex"}}'.format, "]}", 4_096
        ),
        "folders": filled(
            x + '"files":[', lambda n: f'{{"name":"{n}/{"a/" * 62}a","content":""}}', "]}", 4_096
        ),
        "test cases": filled(x + '"test_cases":[', '{"input":"","args":["a","b","c"]}', "]}", 1_000),
        "packages": filled(
            x + '"dependencies":{"pypi":[',
            lambda n: f'"a{n}[{",".join(map("x{}".format, range(60)))}]==1"',
            "]}}",
            200,
        ),
    }


def fill(size: int, first: str, item: str | Callable[[int], str], last: str, most: int | None) -> bytes:
    """Return as many items as `size` bytes have room for, or `most` and a longer script, within two texts."""
    items, room = [], size - len(first) - len(last)
    for number in islice(count(), most):
        items.append(item if isinstance(item, str) else item(number))
        room -= len(items[-1]) + 1
        if room < 0:
            items.pop()
            break
    text = f"{first}{','.join(items)}{last}"
    return text.replace('"run":"x"', f'"run":"{"x" * max(1, size - len(text))}"', 1).encode()
