"""The prose of a file: docstrings, comments, messages of the code, paragraphs of documents."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

Kind = Literal["docstring", "comment", "message", "document"]
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

ROOT = Path(__file__).parents[2]
PRODUCT = ("ingest", "processors", "topics", "nix", "infra")
DOCUMENTS = ("README.md", "SECURITY.md", "docs", "Makefile")
C, MARKUP = {".c", ".h", ".ts", ".css"}, {".html", ".xml"}
SHELL = {".sh", ".nix", ".toml", ".properties"}
SUFFIXES = {".py", ".md"} | C | MARKUP | SHELL
SHELL_NAMES = {"Dockerfile", "Makefile", "kafka-run"}
"""Files without a suffix whose comments begin with `#`."""
PINNED = {
    "nix/pkgs/default.nix": "part of the pin of every package set",
}
"""Files whose bytes are frozen, comments included, and why: a change would build everything again."""
GENERATED = {"node_modules", "dist", "build", "schemas", "__pycache__"}

PROPERTY = {"property", "cached_property"}
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`[^`\n]*`")
C_COMMENT = re.compile(r"/\*.*?\*/|(?<!:)//[^\n]*", re.DOTALL)
SHELL_COMMENT = re.compile(r"(?:^|(?<=\s))#(?!!)[^\n]*(?:\n[ \t]*#[^\n]*)*", re.MULTILINE)
C_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"|`[^`]*`')
MARKUP_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


class Text(NamedTuple):
    """A piece of prose and the line on which it begins."""

    line: int
    kind: Kind
    text: str
    name: str = ""
    """What a docstring describes; a module has none."""
    function: bool = False
    """True for docstrings of functions and methods, not of properties."""


def files(paths: tuple[str, ...] = PRODUCT + DOCUMENTS) -> Iterator[Path]:
    """Yield the files with prose at or below paths, which are relative to the repository."""
    for path in paths:
        found = [ROOT / path] if (ROOT / path).is_file() else sorted((ROOT / path).rglob("*"))
        for file in found:
            inside = file.relative_to(ROOT)
            is_prose = file.suffix in SUFFIXES or file.name in SHELL_NAMES
            if is_prose and not GENERATED.intersection(inside.parts) and str(inside) not in PINNED:
                yield file


def texts(file: str, source: str) -> Iterator[Text]:
    """Yield the prose of a file, by its suffix. Code in backticks and fences is blanked in documents."""
    if file.endswith(".py"):
        tree = ast.parse(source)
        documented = dict(_docstrings(tree))
        yield from documented.values()
        yield from _messages(tree, set(documented))
        yield from _comments(source)
    elif file.endswith(".md"):
        yield Text(1, "document", FENCE.sub(_blank, source))
    else:
        for match in _comment_of(file).finditer(source):
            yield Text(source.count("\n", 0, match.start()) + 1, "comment", match[0])
        if Path(file).suffix in C:
            code = C_COMMENT.sub(lambda comment: re.sub(r"[^\n]", " ", comment[0]), source)
            for match in C_STRING.finditer(code):
                text = Text(code.count("\n", 0, match.start()) + 1, "message", match[0].strip('"`'))
                yield from [text] if re.search(r"\s", text.text) else []


def _comment_of(file: str) -> re.Pattern[str]:
    suffix = Path(file).suffix
    return C_COMMENT if suffix in C else MARKUP_COMMENT if suffix in MARKUP else SHELL_COMMENT


def without_code(text: str) -> str:
    """Replace what stands in backticks, which is not prose, by as many characters."""
    return CODE.sub(_blank, text)


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", "`", match[0])


def _docstrings(tree: ast.Module) -> Iterator[tuple[ast.Constant, Text]]:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        if isinstance(node, ast.Module | Definition) and (constant := _string(body[:1])):
            name = "" if isinstance(node, ast.Module) else node.name
            yield constant, Text(constant.lineno, "docstring", str(constant.value), name, _is_function(node))
        for before, statement in pairwise(body):
            if isinstance(before, ast.Assign | ast.AnnAssign) and (constant := _string([statement])):
                name = ast.unparse(before.targets[0] if isinstance(before, ast.Assign) else before.target)
                yield constant, Text(constant.lineno, "docstring", str(constant.value), name)


def _string(body: list[ast.stmt]) -> ast.Constant | None:
    match body:
        case [ast.Expr(value=ast.Constant(value=str()) as constant)]:
            return constant
    return None


def _is_function(node: ast.AST) -> bool:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    decorators = {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}
    return not decorators & PROPERTY


def _messages(tree: ast.Module, docstrings: set[ast.Constant]) -> Iterator[Text]:
    """Yield string literals with a space: log lines, errors, help."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings:
            text = Text(node.lineno, "message", node.value)
            yield from [text] if re.search(r"\s", text.text) else []


def _comments(source: str) -> Iterator[Text]:
    """Yield comments; those of consecutive lines are one text."""
    block: list[str] = []
    first = last = column = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        if block and token.start != (last + 1, column):
            yield Text(first, "comment", "\n".join(block))
            block = []
        if not block:
            first = token.start[0]
        block.append(token.string)
        last, column = token.start
    if block:
        yield Text(first, "comment", "\n".join(block))
