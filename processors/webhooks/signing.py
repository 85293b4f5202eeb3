"""Signatures of webhooks, by which receivers verify the sender (Standard Webhooks, standardwebhooks.com)."""

import base64
import binascii
import hmac
import secrets
from collections.abc import Sequence
from pathlib import Path

_PREFIX = "whsec_"
_KEY_BYTES = range(24, 65)


class SecretError(ValueError):
    """The file of secrets is unusable; the message gives the reason."""


def new_secret() -> str:
    """Return a random secret as a line of the file that `read_secrets` reads."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def read_secrets(file: Path) -> list[bytes]:
    """Return the keys in `file`, which has on each line `whsec_` and 24 to 64 bytes in base64.

    Each key signs every webhook, so that a new one can be added before receivers drop the old one.

    Raises:
        SecretError: the file cannot be read, is empty, or has another line.
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
        raise SecretError(f"{file}, line {number} is not `whsec_` with 24 to 64 bytes as base64 after it")
    return key


def signed_headers(keys: Sequence[bytes], id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """Return the headers of `body`: its id, the time of sending (Unix time), and a signature by each key."""
    content = f"{id}.{timestamp_s}.".encode() + body
    signatures = (base64.b64encode(hmac.digest(key, content, "sha256")).decode() for key in keys)
    return {
        "webhook-id": id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
