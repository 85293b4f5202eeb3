"""Generator of the client's models from those of the server.

The client must not import the server, and reads the answers of later servers: its models are open. Unknown
fields are ignored, each set of words admits other words, and nothing is checked that the server checks.
"""

import inspect
import subprocess
import sys
import textwrap
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ingest.languages import LanguageList
from ingest.models import BatchResults, EventPayload, Problem, SubmissionPage, SubmissionShown, System
from topics.dependencies.steps import BuildStep
from topics.request.errors import FieldError
from topics.request.files import File
from topics.request.model import FILES_OF_FIELDS, REQUEST_BYTES_CEILING, SubmissionRequest
from topics.submissions.output import OutputChunk
from topics.submissions.stage import Outcome, StageResult, Verdict
from topics.submissions.state import FINAL, Status

PATH = Path(__file__).parents[2] / "ingest" / "client" / "envicutor_client" / "models.py"
"""Module that the generator writes."""
_ROOTS: tuple[type[BaseModel], ...] = (
    *(SubmissionRequest, SubmissionShown, SubmissionPage, BatchResults),
    *(EventPayload, OutputChunk, Problem, System, LanguageList),
)
"""Models of requests and responses. Models of their fields follow from them."""
_WORDS: dict[Any, str] = {Status: "Status", Outcome: "Outcome", Verdict: "Verdict"}
"""Sets of words that have a name of their own."""
_WORDS_ARE = {
    "Status": "Progress of a submission; `FINAL` has those that never change.",
    "Outcome": "Result of a finished submission.",
    "Verdict": "Result of a test case.",
}
"""Docstrings of the sets of words by name."""
_METHODS: dict[type[BaseModel], list[Any]] = {
    StageResult: [StageResult.__dict__["ok"].fget],
    FieldError: [FieldError.__str__],
    BuildStep: [BuildStep.__str__],
}
"""Methods that the client has as well."""
_OPTIONAL: dict[tuple[type[BaseModel], str], str] = {(File, "content"): '""'}
"""Defaults of fields that the server requires of what it stores, but that requests may lack."""
_CONSTANTS = f'''\
FINAL: frozenset[Status] = frozenset({sorted(FINAL)!r})
"""Statuses that never change."""
FILES_OF_FIELDS: dict[str, tuple[str, ...]] = {FILES_OF_FIELDS!r}
"""Older convention of files: the first of these files of a folder stands for a field that is missing."""
REQUEST_BYTES_CEILING = {REQUEST_BYTES_CEILING}
"""Size in bytes that no request may exceed."""
'''
_HEAD = '''\
# Generated from the models of the server by `make docs`. Do not edit.
"""Models of requests and responses, as the server has them, without its checks.

Unknown fields are ignored, and words other than those listed are accepted, so that the client can read the
answers of later servers.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class WireModel(BaseModel):
    """Base of the models."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)

'''


def document() -> str:
    """Return the text of the module, formatted as the rest of the project."""
    found: dict[type[BaseModel], None] = {}
    for root in _ROOTS:
        _find(root, found)
    text = _HEAD
    for alias, name in _WORDS.items():
        text += f'{name} = {_literal(alias)}\n"""{_WORDS_ARE[name]}"""\n'
    text += _CONSTANTS + "".join(_class(model) for model in found)
    return _formatted(text)


def _find(annotation: Any, found: dict[type[BaseModel], None]) -> None:
    """Add the models that an annotation needs to `found`, each after those that it needs itself."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation not in found:
        for needed in [*_bases(annotation), *(field.annotation for field in _fields(annotation).values())]:
            _find(needed, found)
        found[annotation] = None
    for argument in get_args(annotation):
        _find(argument, found)


def _bases(model: type[BaseModel]) -> list[type[BaseModel]]:
    """Return the base classes of a model that have fields."""
    return [base for base in model.__bases__ if issubclass(base, BaseModel) and base.model_fields]


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields that a model has beyond those of its base classes, or declares anew."""
    own = inspect.get_annotations(model)
    return {name: field for name, field in model.model_fields.items() if name in own}


def _class(model: type[BaseModel]) -> str:
    bases = ", ".join(base.__name__ for base in _bases(model)) or "WireModel"
    members = [_docstring(model.__doc__ or "")]
    members += [_field(model, name, field) for name, field in _fields(model).items()]
    members += ["\n" + textwrap.dedent(inspect.getsource(method)) for method in _METHODS.get(model, [])]
    return f"\nclass {model.__name__}({bases}):\n" + textwrap.indent("".join(members), "    ") + "\n"


def _docstring(text: str) -> str:
    text = inspect.cleandoc(text)
    return f'"""{text}\n"""\n' if "\n\n" in text else f'"""{text}"""\n'


def _field(model: type[BaseModel], name: str, field: FieldInfo) -> str:
    type_ = _type(field.annotation)
    if field.discriminator:  # a later server may have another kind
        type_ = f'Annotated[{type_} | dict[str, Any], Field(union_mode="left_to_right")]'
    value = _OPTIONAL.get((model, name)) or ("" if field.is_required() else _default(field))
    if field.alias:  # with `alias`, type checkers would take it for the name of the argument
        name_on_wire = repr(field.alias)
        value = f"Field(default={value}, validation_alias={name_on_wire}, serialization_alias={name_on_wire})"
    value = value and f" = {value}"
    return f"{name}: {type_}{value}\n" + (_docstring(field.description) if field.description else "")


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return f"Field(default_factory={getattr(field.default_factory, '__name__', '')})"
    value = field.default
    return f"{type(value).__name__}()" if isinstance(value, BaseModel) else repr(value)


def _type(annotation: Any) -> str:
    """Return an annotation as source, without its constraints."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(arguments[0])
    if origin is Literal:
        return _WORDS.get(annotation) or _literal(annotation)
    if origin in {Union, UnionType}:
        return " | ".join(dict.fromkeys(map(_type, arguments)))
    if origin in {tuple, list}:
        return f"Sequence[{_type(arguments[0])}]"
    if origin is dict:
        return f"dict[{', '.join(map(_type, arguments))}]"
    return {NoneType: "None", Any: "Any"}.get(annotation) or str(annotation.__name__)


def _literal(annotation: Any) -> str:
    """Return a set of words, which admits others; a single word distinguishes the models of a union."""
    words = get_args(annotation)
    return f"Literal[{', '.join(map(repr, words))}]" + (" | str" if len(words) > 1 else "")


def _formatted(text: str) -> str:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(PATH), "-"]
    return subprocess.run(command, cwd=root, input=text, capture_output=True, text=True, check=True).stdout
