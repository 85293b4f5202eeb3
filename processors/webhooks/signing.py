"""Signatures of webhooks, by which receivers verify the sender (Standard Webhooks, standardwebhooks.com)."""

import base64
import binascii
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from standardwebhooks import Webhook as Signer

_PREFIX = "whsec_"
_KEY_BYTES = range(24, 65)


class SecretError(ValueError):
    """The file of secrets is unusable; the message gives the reason."""


def new_secret() -> str:
    """Return a random secret as a line of the file that `read_secrets` reads."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def read_secrets(file: Path) -> list[Signer]:
    """Return a signer for each secret in `file`, one per line: `whsec_` and 24 to 64 bytes in base64.

    Every secret signs, so that an operator can add a new one before receivers drop the old one.

    Raises:
        SecretError: the file cannot be read, is empty, or has a line that is not a secret.
    """
    try:
        lines = file.read_text().split()
    except (OSError, UnicodeDecodeError) as error:
        raise SecretError(f"the secrets of webhooks cannot be read: {error}") from None
    if not lines:
        raise SecretError(f"{file} holds no secret: write a line `whsec_…`")
    return [Signer(_key(file, number, line)) for number, line in enumerate(lines, 1)]


def _key(file: Path, number: int, line: str) -> bytes:
    # `Signer` skips characters that are not base64 and accepts keys of one byte.
    try:
        key = base64.b64decode(line.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not line.startswith(_PREFIX) or len(key) not in _KEY_BYTES:
        raise SecretError(f"{file}, line {number} is not `whsec_` with 24 to 64 bytes as base64 after it")
    return key


def signed_headers(signers: Sequence[Signer], id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """Return the headers that go with `body`, which is UTF-8.

    They are the webhook's `id`, the Unix time at which it is sent, and one signature per signer.
    """
    sent_at, text = datetime.fromtimestamp(timestamp_s, UTC), body.decode()
    return {
        "webhook-id": id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(signer.sign(id, sent_at, text) for signer in signers),
    }
