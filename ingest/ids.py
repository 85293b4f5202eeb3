"""Ids that are made of what clients say."""

import uuid

NAMESPACE = uuid.UUID("6f1c9d8e-5c0b-5d0e-9b6e-2f5a5f8d7a11")
"""Never to be changed: the same key must go on being the same submission."""


def of_idempotency_key(key: str, owner: str | None) -> str:
    """The submission's id; two owners' keys have nothing to do with each other."""
    return str(uuid.uuid5(NAMESPACE, key if owner is None else f"{owner}\0{key}"))
