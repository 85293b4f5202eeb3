"""The fact Requested, made from a valid request in the same way for HTTP and for Kafka."""

import platform
from collections.abc import Sequence
from typing import Literal

from topics.dependencies import dependencies_id
from topics.request.errors import FieldError, InvalidRequestError
from topics.request.model import SubmissionRequest
from topics.request.pins import is_pin, normal_pypi
from topics.submissions.facts import Requested
from topics.submissions.state import Submission

SYSTEM = f"{platform.machine()}-linux"
"""Nix's name of the platform that environments are built for, such as `x86_64-linux`."""


def make_requested(
    request: SubmissionRequest,
    content_hash: str,
    package_set: str,
    *,
    source: Literal["http", "kafka"],
    owner: str | None = None,
    allowed_attempts: int = 3,
    reply_topic: str | None = None,
) -> Requested:
    """Return the fact that `request` was accepted while `package_set` was in force."""
    return Requested(
        request=request,
        content_hash=content_hash,
        dependencies_id=dependencies_id(request.environment, package_set, SYSTEM),
        package_set=package_set,
        allowed_attempts=allowed_attempts,
        owner=owner,
        source=source,
        reply_topic=reply_topic,
    )


def to_resolve(fact: Requested) -> tuple[str, ...]:
    """Return the packages of PyPI of a request, pins included, if one is to be resolved; else none."""
    wanted = fact.request.environment.pypi
    return () if all(map(is_pin, wanted)) else wanted


def with_pins(fact: Requested, found: Sequence[str | Exception]) -> Requested:
    """Return the fact with the pin that was found for each package of `to_resolve`.

    The content hash stays: it is of what was sent, so that the same request again is the same submission.

    Raises:
        InvalidRequestError: for some there is a reason instead.
    """
    errors = tuple(
        FieldError(field=f"dependencies.pypi.{number}", message=str(error))
        for number, error in enumerate(found)
        if isinstance(error, Exception)
    )
    if errors:
        raise InvalidRequestError(errors)
    pins = normal_pypi(pin for pin in found if isinstance(pin, str))
    dependencies = fact.request.environment.replace(pypi=pins)
    return fact.replace(
        request=fact.request.replace(dependencies=dependencies),
        dependencies_id=dependencies_id(dependencies, fact.package_set, SYSTEM),
    )


def as_before(fact: Requested, earlier: Submission | None) -> Requested | None:
    """Return the fact with the pins of `earlier` if that is the submission of the same request, else None."""
    if earlier is None or earlier.request is None:
        return None
    if (earlier.content_hash, earlier.owner) != (fact.content_hash, fact.owner):
        return None
    return fact.replace(
        request=earlier.request,
        dependencies_id=earlier.dependencies_id,
        package_set=earlier.package_set,
    )
