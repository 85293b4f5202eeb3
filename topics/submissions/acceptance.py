"""The fact Requested, made from a valid request in the same way for HTTP and for Kafka."""

import platform
from typing import Literal

from topics.dependencies import dependencies_id
from topics.request.model import SubmissionRequest
from topics.submissions.facts import Requested

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
