"""The key that signs seals: generated once, in a file that only its owner can read."""

import os
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

FOLDER = "sealer"
"""Folder of the sealer, below the data folder."""
_PRIVATE, _PUBLIC = "private-key.pem", "public-key.pem"


def public_key_file(data_dir: Path) -> Path:
    """Return the file of the public key (PEM), beside the private one and readable by all users."""
    return data_dir / FOLDER / _PUBLIC


def private_key(data_dir: Path) -> Ed25519PrivateKey:
    """Return the key of this system; generate it if there is none yet.

    Raises:
        OSError: the folder cannot be written to.
        ValueError: the file does not hold an Ed25519 key.
    """
    folder = data_dir / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / _PRIVATE
    if not file.exists():
        _make(file)
    key = load_pem_private_key(file.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{file} holds no Ed25519 key")
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    public_key_file(data_dir).write_bytes(public)
    return key


def _make(file: Path) -> None:
    """Write a new key atomically; a key that exists is never replaced."""
    private = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    draft = file.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as opened:
        opened.write(private)
        opened.flush()
        os.fsync(opened.fileno())
    with suppress(FileExistsError):
        file.hardlink_to(draft)
    draft.unlink()


def public_key(file: Path) -> Ed25519PublicKey:
    """Return the public key in a file.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file does not hold an Ed25519 public key in PEM.
    """
    key = load_pem_public_key(file.read_bytes())
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError(f"{file} holds no Ed25519 key")
    return key
