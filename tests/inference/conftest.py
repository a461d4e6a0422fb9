"""A signer of Content Credentials with its own certificate authority, and a picture signed by it."""

from __future__ import annotations

import datetime
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from numpy.typing import NDArray

from deepfake_detector.media.image import encode_jpeg

Certified = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]
AI = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


@dataclass(frozen=True)
class Signer:
    """Signs files; `authority` is the PEM of the authority that issued its certificate."""

    authority: bytes
    sign: Callable[[bytes, str, str], bytes]  # file, media type, source of its first action -> signed file


def certify(name: str, by: Certified | None = None) -> Certified:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(oid, name) for oid in (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME)])
    issuer, issuer_key = (by[0].subject, by[1]) if by else (subject, key)
    now, authority = datetime.datetime.now(datetime.UTC), by is None
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(9))
    usage = x509.KeyUsage(True, False, False, False, False, authority, authority, False, False)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    vouched = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(authority, None), True).add_extension(usage, True)
    builder = builder.add_extension(identifier, False).add_extension(vouched, False)
    if not authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
    return builder.sign(issuer_key, hashes.SHA256()), key


@pytest.fixture(scope="session")
def signer() -> Signer:
    """A signer called "Test Camera Ltd", with a certificate of "Test Authority"."""
    import c2pa

    authority = certify("Test Authority")
    certificate, key = certify("Test Camera Ltd", authority)
    pem = authority[0].public_bytes(Encoding.PEM)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def sign(data: bytes, mime: str, source: str) -> bytes:
        action = {"action": "c2pa.created", "digitalSourceType": source}
        manifest = {
            "claim_generator_info": [{"name": "Test Painter", "version": "1.0"}],
            "assertions": [{"label": "c2pa.actions", "data": {"actions": [action]}}],
        }
        info = c2pa.C2paSignerInfo(b"es256", certificate.public_bytes(Encoding.PEM) + pem, secret, None)
        signed = io.BytesIO()
        with c2pa.Signer.from_info(info) as by, c2pa.Builder(manifest) as builder:
            builder.sign(by, mime, io.BytesIO(data), signed)
        return signed.getvalue()

    return Signer(pem, sign)


@pytest.fixture(scope="session")
def ai_made(signer: Signer, red_portrait: NDArray[np.uint8]) -> bytes:
    """A signed JPEG whose manifest names AI as its source."""
    return signer.sign(encode_jpeg(red_portrait), "image/jpeg", AI)


@pytest.fixture
def trusting(signer: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the signer's authority."""
    (tmp_path / "trusted.pem").write_bytes(signer.authority)
    monkeypatch.setenv("DEEPFAKE_C2PA_TRUST", str(tmp_path / "trusted.pem"))
