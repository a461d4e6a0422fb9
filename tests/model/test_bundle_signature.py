from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from deepfake_detector.errors import BadInput, BundleCorrupt, ToolFailed
from deepfake_detector.model.bundle import SEAL, read_bundle
from deepfake_detector.model.bundle_signature import PUBLIC_KEY_VARIABLE, SIGNATURE, create_key_pair, sign_seal


@pytest.fixture
def bundle(tmp_path: Path, tiny: Any) -> Path:
    path: Path = tiny.write_bundle(tmp_path / "bundle").path
    return path


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    private, public = tmp_path / "key.pem", tmp_path / "key.pub.pem"
    create_key_pair(private, public)
    return private, public


def sign(bundle: Path, private: Path) -> None:
    sign_seal(bundle, (bundle / SEAL).read_bytes(), private)


def test_without_a_configured_key_nothing_is_asked(bundle: Path, keys: tuple[Path, Path]) -> None:
    before = read_bundle(bundle).sha256
    sign(bundle, keys[0])
    assert read_bundle(bundle).sha256 == before  # the signature is beside the seal, not in it


def test_a_configured_key_requires_its_signature(
    bundle: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PUBLIC_KEY_VARIABLE, str(keys[1]))
    with pytest.raises(BundleCorrupt, match="is not signed, and a signature is required"):
        read_bundle(bundle)
    sign(bundle, keys[0])
    assert read_bundle(bundle).contract.network == "tiny"


def test_another_key_or_another_seal_is_refused(
    bundle: Path, keys: tuple[Path, Path], tmp_path: Path, tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_key_pair(tmp_path / "other.pem", tmp_path / "other.pub.pem")
    monkeypatch.setenv(PUBLIC_KEY_VARIABLE, str(keys[1]))
    sign(bundle, tmp_path / "other.pem")
    with pytest.raises(BundleCorrupt, match="is not signed by the key"):
        read_bundle(bundle)
    sign(bundle, keys[0])
    signature = (bundle / SIGNATURE).read_bytes()
    monkeypatch.delenv(PUBLIC_KEY_VARIABLE)
    tiny.write_bundle(bundle, temperature=2.0)  # another model, sealed, with the signature of the first
    (bundle / SIGNATURE).write_bytes(signature)
    monkeypatch.setenv(PUBLIC_KEY_VARIABLE, str(keys[1]))
    with pytest.raises(BundleCorrupt, match="is not signed by the key"):
        read_bundle(bundle)


@pytest.mark.parametrize("signature", [b"", b"not base64!", base64.b64encode(b"\0" * 64), b"\xff" * 88])
def test_a_broken_signature_is_refused(
    bundle: Path, keys: tuple[Path, Path], signature: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bundle / SIGNATURE).write_bytes(signature)
    monkeypatch.setenv(PUBLIC_KEY_VARIABLE, str(keys[1]))
    with pytest.raises(BundleCorrupt, match="is not signed by the key"):
        read_bundle(bundle)


def test_a_key_that_is_no_key_is_named(bundle: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    (bundle.parent / "text.pem").write_text("hello")
    for name in (str(bundle.parent / "text.pem"), str(bundle.parent / "missing.pem"), str(keys[0])):
        monkeypatch.setenv(PUBLIC_KEY_VARIABLE, name)
        with pytest.raises(ToolFailed, match=PUBLIC_KEY_VARIABLE):
            read_bundle(bundle)
    with pytest.raises(BadInput, match="private key"):
        sign_seal(bundle, b"seal", keys[1])
    with pytest.raises(BadInput, match="private key"):
        sign_seal(bundle, b"seal", bundle.parent / "missing.pem")


def test_keys_of_another_kind_are_refused(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

    key = generate_private_key(SECP256R1())
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (tmp_path / "ec.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "ec.pub.pem").write_bytes(public)
    with pytest.raises(BadInput, match="another kind of key"):
        sign_seal(bundle, b"seal", tmp_path / "ec.pem")
    monkeypatch.setenv(PUBLIC_KEY_VARIABLE, str(tmp_path / "ec.pub.pem"))
    with pytest.raises(ToolFailed, match="another kind of key"):
        read_bundle(bundle)


def test_a_key_pair_is_never_overwritten_and_readable_by_its_owner_alone(keys: tuple[Path, Path]) -> None:
    before = keys[0].read_bytes()
    with pytest.raises(BadInput, match="exists"):
        create_key_pair(*keys)
    with pytest.raises(BadInput, match="exists"):
        create_key_pair(keys[0].with_name("new.pem"), keys[1])
    assert keys[0].read_bytes() == before
    assert keys[0].stat().st_mode & 0o077 == 0


def test_without_the_extra_a_configured_key_is_an_error_that_names_it(
    bundle: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert read_bundle(bundle).contract.network == "tiny"
    monkeypatch.setenv(PUBLIC_KEY_VARIABLE, str(keys[1]))
    with pytest.raises(ToolFailed, match="need the package cryptography"):
        read_bundle(bundle)
