"""Ed25519 signatures of commands and actions, over their canonical JSON with an empty signature."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path
from typing import TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from dosetwin.platform.codec import decode, encode
from dosetwin.platform.contracts import Action, Command
from dosetwin.platform.errors import SignatureError

Signed = TypeVar("Signed", Command, Action)


class Signer:
    """Signs commands or actions with one private key (32 raw bytes)."""

    def __init__(self, private_key: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(private_key)
        self.public_key: bytes = self._key.public_key().public_bytes_raw()
        self.key_id: str = key_id(self.public_key)

    def sign(self, message: Signed) -> Signed:
        """The message as its reader will decode it, with `key_id` and `signature` filled in.

        Once over the wire first: an amount given as the integer 1 is read back as 1.0, which is written
        with other bytes than those that were signed.
        """
        unsigned = msgspec.structs.replace(message, key_id=self.key_id, signature="")
        unsigned = decode(encode(unsigned), type(message))
        signature = base64.b64encode(self._key.sign(encode(unsigned))).decode()
        return msgspec.structs.replace(unsigned, signature=signature)


class Verifier:
    """Checks signatures against the trusted public keys (32 raw bytes each)."""

    def __init__(self, *public_keys: bytes) -> None:
        self._keys = {key_id(key): Ed25519PublicKey.from_public_bytes(key) for key in public_keys}

    def verify(self, message: Command | Action) -> None:
        """Raise SignatureError unless a trusted key made the signature of exactly this message."""
        key = self._keys.get(message.key_id)
        if key is None:
            raise SignatureError(
                f"signed by key {message.key_id or '(none)'}; trusted are {', '.join(self._keys) or 'none'}"
            )
        unsigned = msgspec.structs.replace(message, signature="")
        try:
            key.verify(base64.b64decode(message.signature, validate=True), encode(unsigned))
        except (InvalidSignature, ValueError) as error:
            raise SignatureError("the signature does not match the message") from error


def key_id(public_key: bytes) -> str:
    """Names a public key: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def load_or_create_key(path: Path, size: int = 32) -> bytes:
    """The secret bytes in `path` (hex); made at random, readable by its owner alone, where absent."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            pass
        else:
            with os.fdopen(descriptor, "w") as file:
                file.write(os.urandom(size).hex())
    secret = bytes.fromhex(path.read_text().strip())
    if len(secret) != size:
        raise SignatureError(
            f"{path} holds {len(secret)} bytes; expected {size}",
            remedy=f"delete {path} to have a new key made, or put the right one there",
        )
    return secret
