"""Reading requests from bytes: parsing, bounds, validation, and errors that name the field."""

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from itertools import islice
from types import MappingProxyType
from typing import Any

import pydantic
from pydantic import ValidationError
from pydantic_core import from_json

from topics.request.callback_urls import refusal
from topics.request.ceilings import DEFAULT_CEILINGS, Ceilings, above, out_of_range, range_at, within
from topics.request.errors import FieldError, InvalidRequestError, NotJsonError, RequestTooLargeError
from topics.request.field_names import unknown_field
from topics.request.json_bounds import MEMBERS, StructureError, check_structure, crowded_objects
from topics.request.languages import with_commands, with_limits
from topics.request.model import DERIVED_ID_PREFIX, FILES_OF_FIELDS, SubmissionRequest

MAX_FIELD_ERRORS = 20
"""Errors of one request that are reported one by one. One more entry has the number of the others."""
_ERRORS_CHARACTERS = 16_384
"""Characters of all reported errors together. No further error is reported beyond it."""
_SHOWN_CHARACTERS = 1500
"""Characters that are kept of the beginning and of the end of a message that quotes a long request."""

_INSTEAD = {
    "run": "give the script as `run`",
    "compile": "give the script as `compile`",
    "dependencies": 'give the expression as `dependencies`: {"nix": "…"}, or {"packages": []} for none',
}
"""Advice for clients that send a file of the older convention, by field."""


def parse_request(
    raw: bytes,
    request_bytes: int,
    webhook_allow: Collection[str] = (),
    ceilings: Ceilings = DEFAULT_CEILINGS,
    ceilings_of_key: Mapping[str, float] = MappingProxyType({}),
) -> tuple[SubmissionRequest, str]:
    """Read a request and the hash of its content as sent, without its id.

    The request has what its `language` gives, so that later versions of a preset do not change it.
    `webhook_allow` are the receivers that a `callback_url` may name. `ceilings` are those of the system,
    `ceilings_of_key` those of `Quotas.ceilings`. The decision is made here, before the request is on the log,
    so that all folds of the log agree.

    Raises:
        RequestTooLargeError: it is longer than `request_bytes`.
        NotJsonError: it is not JSON.
        InvalidRequestError: a field is wrong, or there are more values or fields than any request has.
    """
    if len(raw) > request_bytes:
        message = (
            f"the request has more than {request_bytes} bytes, the limit request_bytes: send less, or have "
            "the operator raise ENVICUTOR_REQUEST_BYTES"
        )
        raise RequestTooLargeError((FieldError(field="", message=message, limit=request_bytes),))
    body = parse_json(raw)
    _check_members(body)
    too_high = tuple(above(body, ceilings, ceilings_of_key))
    effective = ceilings.lowered_by(ceilings_of_key)
    try:
        request = SubmissionRequest.model_validate_json(raw)
    except ValidationError as error:
        found = field_errors(error, ceilings=effective)
        named = {wrong.field for wrong in found}
        more = tuple(wrong for wrong in too_high if wrong.field not in named)
        raise InvalidRequestError(found + more) from None
    if too_high:
        raise InvalidRequestError(too_high)
    check_chosen_id(request.id)
    request = with_commands(within(with_limits(request), effective))
    check_convention(request)
    _check_contents(body)
    if request.callback_answer and request.callback_url is None:
        message = "is set, and there is no `callback_url` that the answer could be sent to"
        raise InvalidRequestError((FieldError(field="callback_answer", message=message),))
    if why := refusal(request.callback_url, webhook_allow):
        raise InvalidRequestError((FieldError(field="callback_url", message=why),))
    return request, content_hash(body)


def check_convention(request: SubmissionRequest) -> None:
    """Accept a request that has no file of the older convention in place of a field.

    Raises:
        InvalidRequestError: naming the fields, the files, and what to do.
    """
    errors = tuple(
        FieldError(
            field=field,
            message=f"is missing, and the server does not read {file.name}: {_INSTEAD[field]}; "
            "`envicutor submit DIR` does so",
        )
        for field in FILES_OF_FIELDS
        if (file := request.older_file(field))
    )
    if errors:
        raise InvalidRequestError(errors)


def _check_contents(body: Any) -> None:
    """Accept a valid request whose files have either `content` or `from`; a stored request may have both.

    Raises:
        InvalidRequestError: naming the files.
    """
    checker = body.get("comparison") or {}
    places = {"files": body.get("files", ()), "comparison.files": checker.get("files", ())}
    errors = tuple(
        FieldError(field=f"{place}.{number}.from", message="give either content or from")
        for place, files in places.items()
        for number, file in enumerate(files)
        if file.get("from") is not None and "content" in file
    )
    if errors:
        raise InvalidRequestError(errors[:MAX_FIELD_ERRORS])


def check_chosen_id(id: str | None) -> None:
    """Accept an id that a client chose, or none.

    Raises:
        InvalidRequestError: it is one that could be made of an `Idempotency-Key`.
    """
    if id is not None and id.startswith(DERIVED_ID_PREFIX):
        message = f"must not begin with {DERIVED_ID_PREFIX!r}: such ids are made of Idempotency-Key headers"
        raise InvalidRequestError((FieldError(field="id", message=message),))


def parse_json(raw: bytes, scale: int = 1) -> Any:
    """Parse JSON that has at most `scale` times as many values as one request may have.

    Raises:
        NotJsonError: it is not JSON.
        InvalidRequestError: it has too many values.
    """
    try:
        check_structure(raw, scale)
        return from_json(raw)
    except StructureError as error:
        raise InvalidRequestError((FieldError(field="", message=str(error), limit=error.limit),)) from None
    except ValueError as error:
        raise NotJsonError((FieldError(field="", message=f"Invalid JSON: {error}"),)) from None


def _check_members(body: Any) -> None:
    """Accept a request whose objects, apart from `env`, have at most `MEMBERS` members each.

    Validation would report each unknown member, which takes long.

    Raises:
        InvalidRequestError: naming the objects.
    """
    if not isinstance(body, dict):
        return
    if len(body) > MEMBERS:
        crowded = iter([("", len(body))])
    else:  # values of fields that do not exist are not validated, so they may be of any shape
        known = body.keys() & SubmissionRequest.model_fields.keys() - {"env"}
        crowded = crowded_objects({name: body[name] for name in known})
    errors = tuple(
        FieldError(field=_shown(path), message=f"has {count} members, and may have {MEMBERS}", limit=MEMBERS)
        for path, count in islice(crowded, MAX_FIELD_ERRORS)
    )
    if errors:
        raise InvalidRequestError(errors)


def content_hash(body: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a request's canonical JSON without its id; equal hashes mean the same request."""
    content = {name: value for name, value in body.items() if name != "id"}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def field_errors(
    error: ValidationError,
    root: type[pydantic.BaseModel] = SubmissionRequest,
    ceilings: Ceilings = DEFAULT_CEILINGS,
) -> tuple[FieldError, ...]:
    """Return pydantic's errors as field errors: the first `MAX_FIELD_ERRORS`, and how many more there are.

    Long messages may make them fewer. `root` is the model that was read, for advice about unknown fields.
    """
    found = error.errors(include_url=False, include_input=False)
    reported: list[FieldError] = []
    characters = 0
    for details in found[:MAX_FIELD_ERRORS]:
        reported.append(_field_error(details, root, ceilings))
        characters += len(str(reported[-1]))
        if characters > _ERRORS_CHARACTERS:
            break
    if more := len(found) - len(reported):
        reported.append(FieldError(field="", message=f"and {more} more"))
    return tuple(reported)


_COMMANDS = (["run"], ["compile"], ["comparison", "run"], ["comparison", "compile"])
_EXAMPLES = {"dependencies": '{"packages": ["python3"]}', "comparison": '{"mode": "floats"}'}
"""Examples of objects by field, for clients that give another type."""
_COMPARED_CHARACTERS = 100
"""Characters of a word that are compared with others: the time grows with their square."""
_BOUNDS = ("le", "lt", "ge", "gt", "max_length", "min_length", "pattern")


def _field_error(details: Any, root: type[pydantic.BaseModel], ceilings: Ceilings) -> FieldError:
    location = _without_tags(list(map(str, details["loc"])))
    context = details.get("ctx", {})
    message = _message(details, location, root)
    if allowed := range_at(location, ceilings):
        if details["type"] == "greater_than_equal":
            return out_of_range(".".join(location), allowed, allowed.floor, "must be")
        return out_of_range(".".join(location), allowed, allowed.ceiling, f"{message},")
    limit = next((context[name] for name in _BOUNDS if name in context), None)
    return FieldError(field=_shown(".".join(location)), message=_shown(message), limit=limit)


def _message(details: Any, location: list[str], root: type[pydantic.BaseModel]) -> str:
    message: str = details["msg"].removeprefix("Value error, ")
    kind = details["type"]
    if kind == "extra_forbidden":
        return unknown_field(root, list(map(str, details["loc"])))
    if kind.startswith("union_tag_"):
        return _wrong_mode(details["ctx"])
    if kind == "missing" and location[-3:-2] == ["files"] and location[-1] == "content":
        return "is missing: give content or from"
    if kind.endswith("_type"):
        if location in _COMMANDS:
            return (
                'must be a script, such as "python3 main.py", or a list of words, such as '
                '["python3", "main.py"]'
            )
        if example := _EXAMPLES.get(".".join(location)):
            return f"{message}, such as {example}"
    return message


def _wrong_mode(context: Mapping[str, str]) -> str:
    """Return a message about a `mode` that is missing, or that there is not."""
    if "tag" not in context:
        return "has no `mode`, such as " + _EXAMPLES["comparison"]
    mode, known = context["tag"], context["expected_tags"]
    near = get_close_matches(mode[:_COMPARED_CHARACTERS], re.findall(r"'(\w+)'", known), n=1)
    return f"there is no mode {mode!r}" + (f"; did you mean {near[0]!r}?" if near else f": there are {known}")


def _without_tags(location: list[str]) -> list[str]:
    """Return the path of a field without the tags of unions: `(script)`, or the mode of a comparison."""
    if location[:1] == ["comparison"]:
        location = location[:1] + location[2:]
    depth = 2 if location[:1] == ["comparison"] else 1
    return location[:depth] + location[depth + 1 :] if location[:depth] in _COMMANDS else location


def _shown(text: str) -> str:
    if len(text) <= 2 * _SHOWN_CHARACTERS:
        return text
    return f"{text[:_SHOWN_CHARACTERS]}…{text[-_SHOWN_CHARACTERS:]}"
