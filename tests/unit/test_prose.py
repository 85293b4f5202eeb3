"""The product and its documents keep the rules of tests/prose; each class has a name of its own."""

import ast
import re
from collections import defaultdict

import pytest

from infra.documents import client_models
from tests.prose.rules import FROZEN, RULES, check, violations
from tests.prose.texts import DOCUMENTS, PINNED, PRODUCT, ROOT, SHELL_NAMES, SUFFIXES, files, texts

SHARED_NAMES = {
    "HandedBack": "a fact of submissions and one of dependencies; facts are named on the log",
    "LeaseExpired": "a fact of submissions and one of dependencies; facts are named on the log",
    "Requested": "a fact of submissions and one of dependencies; facts are named on the log",
    "Started": "a fact of submissions and one of dependencies; facts are named on the log",
}
"""The names that two classes of the product may have, and why."""

DOCSTRINGS, COMMENT_LINES = 2719, 364
"""What the product had before its prose was converted, without benchmarks."""


def test_prose() -> None:
    assert [str(violation) for violation in check(list(files(PRODUCT + DOCUMENTS)))] == []


def test_each_class_name_once() -> None:
    defined = defaultdict(list)
    for file in files(PRODUCT):
        if file.suffix != ".py" or file == client_models.PATH:  # the client's models are those of the server
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef):
                defined[node.name].append(str(file.relative_to(ROOT)))
    assert {name: at for name, at in defined.items() if len(at) > 1 and name not in SHARED_NAMES} == {}


def test_prose_is_rewritten_rather_than_deleted() -> None:
    python = [file for file in files(PRODUCT) if file.suffix == ".py" and "bench" not in file.parts]
    found = [text for file in python for text in texts(file.name, file.read_text())]
    docstrings = [text for text in found if text.kind == "docstring"]
    comment_lines = sum(text.text.count("\n") + 1 for text in found if text.kind == "comment")
    assert len(docstrings) >= DOCSTRINGS * 0.9
    assert comment_lines >= COMMENT_LINES * 0.9


def test_frozen_messages_are_those_of_folds_and_stores() -> None:
    folds = [file.read_text() for file in files(("topics",)) if file.name == "fold.py"]
    stores = [file.read_text() for file in files(("processors/store",))]
    assert [message for message in FROZEN if f'"{message}' not in "".join(folds + stores)] == []


REFUSED = [
    ("person", '"""Log what nobody reads any more."""'),
    ("person", "# Whoever waits is notified."),
    ("verb", 'error = "the broker says no"'),
    ("verb", "# The worker\n# died of it."),
    ("where", "# Fetch it where there is none."),
    ("inversion", '"""Return the row. Is it absent, return None."""'),
    ("subject", '"""Of the broker: its address."""'),
    ("subject", 'PORT = 1\n"""What the server listens on."""'),
    ("mood", 'def f() -> int:\n    """The size of the file in bytes."""'),
    ("mood", 'def f() -> int:\n    """Size of the file in bytes."""'),
    ("raises", 'def f() -> int:\n    """Return the size. Raises OSError if it is absent."""'),
    ("raises", 'def f() -> int:\n    """Return the size; raises OSError if it is absent."""'),
    ("short", 'def f() -> int:\n    """Return it all."""'),
    ("repeats", 'def wait_for_answers() -> int:\n    """Wait for the answers to answering."""'),
]
ACCEPTED = [
    '"""Return the row as the user `nobody`, or None if it is absent."""',
    "# Look where the file is stored; do not wait.",
    'class Row:\n    """A row of the table.\n\n    Raises:\n        OSError: if the file is absent.\n    """',
    'class Row:\n    @property\n    def size(self) -> int:\n        """The size of the file in bytes."""',
    'def check() -> None:\n    """Raise OSError if the file is absent."""',
    'URL = "tell"',
]


@pytest.mark.parametrize(("rule", "source"), REFUSED)
def test_refused(rule: str, source: str) -> None:
    assert [found.rule for found in violations("a.py", source)] == [rule]


@pytest.mark.parametrize("source", ACCEPTED)
def test_accepted(source: str) -> None:
    assert list(violations("a.py", source)) == []


def test_each_rule_refuses_something() -> None:
    assert {rule for rule, _ in REFUSED} == set(RULES)


def test_code_in_documents_is_not_prose() -> None:
    document = "Run it.\n\n```\nsay hello\n```\n\nThe command `tell` prints what the log tells.\n"
    assert [(found.line, found.rule) for found in violations("a.md", document)] == [(7, "verb")]


def test_comments_of_c_are_prose() -> None:
    source = 'char *url = "http://nobody/";\n/* The kernel\n   tells nothing. */\nint say; // Nobody waits.\n'
    found = [(violation.line, violation.rule) for violation in violations("a.c", source)]
    assert found == [(3, "verb"), (4, "person")]


@pytest.mark.parametrize(
    ("file", "comment"),
    [
        ("a.sh", "#!/bin/nobody\n# The kernel\n# tells nothing.\n"),
        ("a.nix", 'a = "#nobody";\n# The kernel\n# tells nothing.\n'),
        ("a.toml", "a = 1\n# The kernel\n# tells nothing.\n"),
        ("a.properties", "a=1\n# The kernel\n# tells nothing.\n"),
        ("Dockerfile", "FROM nobody\n# The kernel\n# tells nothing.\n"),
        ("a.css", "a {}\n/* The kernel\n   tells nothing. */\n"),
        ("a.html", "<p></p>\n<!-- The kernel\n   tells nothing. -->\n"),
    ],
)
def test_comments_of_other_files_are_prose(file: str, comment: str) -> None:
    assert [(found.line, found.rule) for found in violations(file, comment)] == [(3, "verb")]


@pytest.mark.parametrize("string", ['"the server\'s log tells more"', "`${name}: the log tells more`"])
def test_messages_of_the_page_and_the_launcher_are_prose(string: str) -> None:
    source = f"// A message.\nconst text = {string};\n"
    assert [(found.line, found.rule) for found in violations("a.ts", source)] == [(2, "verb")]


def test_every_kind_of_file_of_the_product_is_checked() -> None:
    found = {file.suffix or file.name for file in files(PRODUCT + DOCUMENTS)}
    assert found >= (SUFFIXES | SHELL_NAMES) - {".h"}
    assert all((ROOT / file).is_file() for file in PINNED)


def test_line_of_a_violation() -> None:
    source = (
        'def f() -> None:\n    """Wait for the end.\n\n    Nobody waits\n    where there is none.\n    """\n'
    )
    assert re.findall(r":(\d+): (\w+)", " ".join(map(str, violations("a.py", source)))) == [
        ("4", "person"),
        ("5", "where"),
    ]
