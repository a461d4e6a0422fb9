from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.inference.content_credentials import _credentials_of, _is_made_by_ai, read_credentials
from deepfake_detector.inference.detector import Detector
from deepfake_detector.media.image import encode_jpeg, encode_png
from deepfake_detector.model.bundle import Bundle

if TYPE_CHECKING:
    from tests.inference.conftest import Signer

CAMERA = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
AI = "compositeWithTrainedAlgorithmicMedia"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("Content Credentials are verified without network")

    monkeypatch.setattr(socket.socket, "connect", never)


def test_a_file_without_credentials_says_that_this_means_nothing(red_portrait: NDArray[np.uint8]) -> None:
    found = read_credentials(encode_png(red_portrait))
    assert (found.state, found.generator, found.made_by_ai, found.signer) == ("absent", None, None, None)
    assert "means nothing" in found.note


def test_an_unknown_signer_is_untrusted_and_its_claims_are_reported(ai_made: bytes) -> None:
    found = read_credentials(ai_made)
    assert (found.state, found.generator, found.made_by_ai) == ("untrusted", "Test Painter 1.0", True)
    assert found.signer == "Test Camera Ltd"
    assert "no list of trusted signers names Test Camera Ltd; it says itself that AI made it" in found.note


def test_without_the_library_the_note_names_the_extra(ai_made: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)  # as if it were not installed
    found = read_credentials(ai_made)
    assert (found.state, found.made_by_ai) == ("unread", None)
    assert "deepfake-detector[credentials]" in found.note


def test_a_signer_of_a_trusted_authority_is_valid(ai_made: bytes, trusting: None) -> None:
    found = read_credentials(ai_made)
    assert (found.state, found.signer) == ("valid", "Test Camera Ltd")


def test_a_camera_is_no_ai_source(signer: Signer, red_portrait: NDArray[np.uint8]) -> None:
    assert read_credentials(signer.sign(encode_png(red_portrait), "image/png", CAMERA)).made_by_ai is False


def test_ai_in_any_action_counts_and_no_source_is_null() -> None:
    def manifest(source: str | None) -> dict[str, Any]:
        return {"assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [{"digitalSourceType": source}]}}]}

    assert _is_made_by_ai(
        {"manifests": {"edit": manifest(None), "original": manifest(CAMERA.replace("digitalCapture", AI))}}
    )
    assert _is_made_by_ai({"manifests": {"edit": manifest(None)}}) is None
    assert _is_made_by_ai({"manifests": {"edit": {}}}) is None


@pytest.mark.parametrize("what", ["picture", "claim", "truncated"])
def test_a_changed_file_is_invalid_and_its_claims_are_not_reported(ai_made: bytes, what: str, trusting: None) -> None:
    changed = bytearray(ai_made)
    if what == "truncated":
        changed = changed[: ai_made.index(b"Test Painter")]
    else:
        changed[-100 if what == "picture" else ai_made.index(b"Test Painter")] ^= 1
    found = read_credentials(bytes(changed))
    assert (found.state, found.generator, found.made_by_ai, found.signer) == ("invalid", None, None, None)
    assert "prove nothing" in found.note


def test_a_marker_without_a_manifest_is_absent(red_portrait: NDArray[np.uint8], tmp_path: Path) -> None:
    assert read_credentials(encode_jpeg(red_portrait) + b"c2pa").state == "absent"
    assert read_credentials(b"c2pa" * 100).state == "absent"
    (tmp_path / "empty").touch()
    assert read_credentials(tmp_path / "empty").state == "absent"


def test_answers_have_credentials_and_the_same_scores(
    signer: Signer, ai_made: bytes, tiny_bundle: Bundle, red_portrait: NDArray[np.uint8], clip: Path, tmp_path: Path
) -> None:
    detector = Detector(tiny_bundle)
    signed, plain = detector.predict_image(ai_made), detector.predict_image(encode_jpeg(red_portrait))
    assert signed.content_credentials is not None
    assert plain.content_credentials is not None
    assert (signed.content_credentials.state, plain.content_credentials.state) == ("untrusted", "absent")
    assert (signed.p_fake, signed.reasons) == (plain.p_fake, plain.reasons)
    video = tmp_path / "signed.mp4"
    video.write_bytes(signer.sign(clip.read_bytes(), "video/mp4", CAMERA))
    answer = detector.predict_video(video)
    assert answer.content_credentials is not None
    assert (answer.content_credentials.state, answer.content_credentials.made_by_ai) == ("untrusted", False)


def test_the_library_is_loaded_only_for_files_with_a_manifest(ai_made: bytes, tmp_path: Path) -> None:
    (tmp_path / "signed.jpg").write_bytes(ai_made)
    (tmp_path / "plain.jpg").write_bytes(b"\xff\xd8\xff and no marker")
    code = (
        "import sys; from pathlib import Path\n"
        "from deepfake_detector.inference.content_credentials import read_credentials\n"
        "for name in ('plain.jpg', 'signed.jpg'):\n"
        "    print(read_credentials(Path(sys.argv[1], name)).state, 'c2pa' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["absent", "False", "untrusted", "True"]


def remote_manifest(jpeg: bytes, address: str = "http://127.0.0.1:1/m.c2pa") -> bytes:
    """A JPEG image whose XMP names an address of its manifest."""
    xmp = (
        b"http://ns.adobe.com/xap/1.0/\0"
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description rdf:about="" xmlns:dcterms="http://purl.org/dc/terms/" dcterms:provenance="'
        + address.encode()
        + b'"></rdf:Description></rdf:RDF></x:xmpmeta>'
    )
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp + jpeg[2:]


def test_a_manifest_at_an_address_was_not_looked_at(red_portrait: NDArray[np.uint8]) -> None:
    found = read_credentials(remote_manifest(encode_jpeg(red_portrait)))
    assert (found.state, found.made_by_ai, found.signer) == ("unread", None, None)
    assert "not looked at" in found.note
    assert "127.0.0.1" not in found.note


def test_texts_of_a_manifest_are_short_and_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    long = "a\nb\x1b[31m" * 100_000
    active = {"signature_info": {"issuer": long}, "claim_generator_info": [{"name": long, "version": long}]}
    store = {"validation_state": "Valid", "active_manifest": "m", "manifests": {"m": active}}
    found = _credentials_of(store)
    broken = _credentials_of({"validation_state": "Invalid", "validation_status": [{"explanation": long}]})
    for text in (found.generator, found.signer, found.note, broken.note):
        assert text is not None
        assert len(text) < 500
        assert text.isprintable()


@pytest.mark.parametrize(
    "store",
    [
        [],
        {"validation_state": "Valid"},
        {"validation_state": "Valid", "active_manifest": "m", "manifests": {"m": []}},
        {"validation_state": "Valid", "active_manifest": "m", "manifests": {"m": {"claim_generator_info": [7]}}},
        {"validation_state": "Invalid", "validation_status": 7},
    ],
)
def test_a_manifest_of_another_shape_is_an_answer(
    ai_made: bytes, store: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    import c2pa

    monkeypatch.setattr(c2pa.Reader, "json", lambda _: json.dumps(store))
    assert read_credentials(ai_made).state == "unread"
