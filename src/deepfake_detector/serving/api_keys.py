"""DEEPFAKE_SERVE_TOKEN and DEEPFAKE_SERVE_KEYS -> whose secret a request holds, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator, SecretStr

MIN_KEY_LENGTH = 16  # characters, of a token too
TOKEN_NAME = "token"  # of the client that sends DEEPFAKE_SERVE_TOKEN
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


def parse_keys(value: object) -> object:
    """Read `anna=SECRET,ben=SECRET`.

    Returns:
        Name -> secret; other values as they are.

    Raises:
        ValueError: it is something else. No message holds a part of it: a secret may stand where a name should.
    """
    if not isinstance(value, str):
        return value
    keys: dict[str, SecretStr] = {}
    for number, part in enumerate(value.split(","), 1):
        name, _, secret = (text.strip() for text in part.partition("="))
        if not _NAME.fullmatch(name) or name == TOKEN_NAME:
            raise ValueError(
                f"entry {number} is no NAME=KEY with a name of A-Z a-z 0-9 . _ - other than {TOKEN_NAME!r}"
            )
        if len(secret) < MIN_KEY_LENGTH:
            raise ValueError(
                f"the key of entry {number} has {len(secret)} characters, at least {MIN_KEY_LENGTH} needed"
            )
        if name in keys or secret in {key.get_secret_value() for key in keys.values()}:
            raise ValueError(f"entry {number} repeats a name or a key")
        keys[name] = SecretStr(secret)
    return keys


NamedKeys = Annotated[Mapping[str, SecretStr], BeforeValidator(parse_keys)]


class ApiKeys:
    """The secrets that a service accepts.

    Args:
        token: the single token; its client is called TOKEN_NAME.
        keys: name of a client -> its key.
    """

    def __init__(self, token: SecretStr | None, keys: Mapping[str, SecretStr]) -> None:
        secrets = {TOKEN_NAME: token, **keys} if token is not None else dict(keys)
        self._digests = [(name, _digest(secret.get_secret_value())) for name, secret in secrets.items() if secret]

    @property
    def required(self) -> bool:
        """Whether a request needs one of them."""
        return bool(self._digests)

    def client(self, authorization: str) -> str | None:
        """Name the client whose secret an Authorization header holds; None if it holds none of them.

        Digests are compared, all of them in constant time: the duration tells nothing of a secret or its length.
        """
        scheme, _, given = authorization.partition(" ")
        digest, found = _digest(given.strip()), None
        for name, expected in self._digests:
            if hmac.compare_digest(digest, expected):
                found = name
        return found if scheme.lower() == "bearer" else None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
