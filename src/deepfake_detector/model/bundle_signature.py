"""SHA256SUMS of a bundle and an Ed25519 key <-> SHA256SUMS.sig: 64 bytes as base64, verified if a key is configured.

Digests tell whether a bundle was changed, a signature who made it. `DEEPFAKE_BUNDLE_PUBLIC_KEY` names a PEM file with
the public key; then every bundle without a valid signature is refused, the one that ships with the code included.
"""

from __future__ import annotations

import base64
import binascii
import importlib.util
import os
from pathlib import Path

from deepfake_detector.errors import BadInput, BundleCorrupt, ToolFailed
from deepfake_detector.io import atomic_write

SIGNATURE = "SHA256SUMS.sig"
PUBLIC_KEY_VARIABLE = "DEEPFAKE_BUNDLE_PUBLIC_KEY"
KEY_HINT = "`deepfake sign --new-key NAME` makes NAME.pem and NAME.pub.pem"
SIGN_HINT = "sign it with `deepfake sign`, or unset " + PUBLIC_KEY_VARIABLE


def create_key_pair(private: Path, public: Path) -> None:
    """Write a new key pair, as PEM files without a passphrase; only the owner may read the private one.

    Raises:
        BadInput: one of the files exists.
    """
    _require_cryptography()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    for path in (private, public):
        if path.exists():
            raise BadInput(f"{path} exists", "name another file: a lost key cannot be restored")
    key = Ed25519PrivateKey.generate()
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    private_pem = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    public_pem = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    descriptor = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(private_pem)
        with atomic_write(public) as new:
            new.write_bytes(public_pem)
    except BaseException:
        private.unlink()  # half a key, or one without its public part
        raise


def sign_seal(bundle: Path, seal: bytes, private: Path) -> None:
    """Write SHA256SUMS.sig into a bundle's folder.

    Args:
        bundle: the folder.
        seal: content of its SHA256SUMS, verified.
        private: PEM file with an Ed25519 private key without a passphrase.

    Raises:
        BadInput: the file holds no such key.
    """
    _require_cryptography()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(private.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(f"cannot read a private key from {private}: {error}", KEY_HINT) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BadInput(f"{private} holds another kind of key than Ed25519", KEY_HINT)
    with atomic_write(bundle / SIGNATURE) as new:
        new.write_bytes(base64.b64encode(key.sign(seal)) + b"\n")


def verify_signature(bundle: Path, seal: bytes) -> None:
    """Check the signature of a bundle; does nothing where no public key is configured.

    Args:
        bundle: the folder.
        seal: content of its SHA256SUMS.

    Raises:
        BundleCorrupt: the signature is missing, or was made with another key or for another SHA256SUMS.
        ToolFailed: the configured file holds no Ed25519 public key, or the extra `sign` is missing.
    """
    if not (configured := os.environ.get(PUBLIC_KEY_VARIABLE, "")):
        return
    _require_cryptography()
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(Path(configured).read_bytes())
    except (OSError, ValueError) as error:
        raise ToolFailed(f"{PUBLIC_KEY_VARIABLE}={configured} is no public key: {error}", KEY_HINT) from error
    if not isinstance(key, Ed25519PublicKey):
        raise ToolFailed(f"{PUBLIC_KEY_VARIABLE}={configured} is another kind of key than Ed25519", KEY_HINT)
    if not (bundle / SIGNATURE).is_file():
        raise BundleCorrupt(f"bundle {bundle} is not signed, and a signature is required", SIGN_HINT)
    try:
        key.verify(base64.b64decode((bundle / SIGNATURE).read_bytes().strip(), validate=True), seal)
    except (InvalidSignature, binascii.Error) as error:
        raise BundleCorrupt(f"bundle {bundle} is not signed by the key in {configured}", SIGN_HINT) from error


def _require_cryptography() -> None:
    if importlib.util.find_spec("cryptography") is None:
        raise ToolFailed("signatures need the package cryptography", "pip install 'deepfake-detector[sign]'")
