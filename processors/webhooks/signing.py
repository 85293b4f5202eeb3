"""Signatures by which a receiver knows that a webhook is ours: the scheme of standardwebhooks.com."""

import base64
import binascii
import hmac
import secrets
from collections.abc import Sequence
from pathlib import Path

_PREFIX = "whsec_"
_KEY_BYTES = range(24, 65)


class SecretError(ValueError):
    """The file of secrets is of no use; the message says why."""


def new_secret() -> str:
    """One that nobody guesses, as `read_secrets` reads it."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def read_secrets(file: Path) -> list[bytes]:
    """The keys in `file`, one a line: `whsec_` and 24 to 64 bytes as base64.

    Each signs, so that a new one may be added before receivers drop the old one.

    Raises:
        SecretError: it cannot be read, or holds none, or something else.
    """
    try:
        lines = file.read_text().split()
    except (OSError, UnicodeDecodeError) as error:
        raise SecretError(f"the secrets of webhooks cannot be read: {error}") from None
    if not lines:
        raise SecretError(f"{file} holds no secret: write a line `whsec_…`")
    return [_key(file, number, line) for number, line in enumerate(lines, 1)]


def _key(file: Path, number: int, line: str) -> bytes:
    try:
        key = base64.b64decode(line.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not line.startswith(_PREFIX) or len(key) not in _KEY_BYTES:
        raise SecretError(f"{file}, line {number}: no `whsec_` with 24 to 64 bytes as base64 after it")
    return key


def signed_headers(keys: Sequence[bytes], id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """What goes with `body`: its id, when it is sent (Unix time), and a signature by each key."""
    content = f"{id}.{timestamp_s}.".encode() + body
    signatures = (base64.b64encode(hmac.digest(key, content, "sha256")).decode() for key in keys)
    return {
        "webhook-id": id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
