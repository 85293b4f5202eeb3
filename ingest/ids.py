"""Ids of submissions that are derived from the `Idempotency-Key` of a request."""

import base64
import hashlib
import uuid

from topics.request.model import DERIVED_ID_PREFIX

NAMESPACE = uuid.UUID("6f1c9d8e-5c0b-5d0e-9b6e-2f5a5f8d7a11")
"""Namespace of UUIDs that earlier versions derived from keys; it must never change, or they are not found."""


def derive_id(key: str, owner: str | None) -> str:
    """Return the id of the submission that `owner` made with this `Idempotency-Key`, the same on every node.

    Two owners' ids differ. Requests whose own id begins with the prefix of these ids are refused.
    """
    digest = hashlib.sha256(f"{owner or ''}\0{key}".encode()).digest()
    return DERIVED_ID_PREFIX + base64.urlsafe_b64encode(digest).decode().rstrip("=")


def derive_legacy_id(key: str, owner: str | None) -> str:
    """Return the id that versions up to contract 1.2.0 derived from this key; clients may choose such ids."""
    return str(uuid.uuid5(NAMESPACE, key if owner is None else f"{owner}\0{key}"))
