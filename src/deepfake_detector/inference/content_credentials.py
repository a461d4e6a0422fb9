"""An image or video file -> the Content Credentials (C2PA) in it, verified without network."""

from __future__ import annotations

import io
import json
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from deepfake_detector.inference.verdict import ContentCredentials, CredentialState
from deepfake_detector.media.file_type import HEAD_BYTES, mime_of
from deepfake_detector.media.metadata import clean_text

# Names a PEM file of trusted authorities. None ships with the code: such lists change, and others maintain them.
TRUST_VARIABLE = "DEEPFAKE_C2PA_TRUST"
MANIFEST_MARKERS = (b"c2pa", b"C2PA")  # every embedded manifest contains one: without it the library is not loaded
NO_NETWORK = {"remote_manifest_fetch": False, "ocsp_fetch": False}
AI_SOURCES = ("trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia")
ABSENT = ContentCredentials(
    state="absent",
    note="the file carries no Content Credentials, which means nothing: most files have none, and they come off easily",
)
UNREAD = ContentCredentials(
    state="unread",
    note="the file may carry Content Credentials; to read them: pip install 'deepfake-detector[credentials]'",
)
ELSEWHERE = ContentCredentials(
    state="unread",
    note="the file says that its Content Credentials are at an address; they were not fetched and not looked at",
)
UNKNOWN_FORM = ContentCredentials(
    state="unread",
    note="the file carries Content Credentials in a form that is not known here; they were not looked at",
)
REMOTE_MANIFEST = "Remote"
STATES: dict[str, CredentialState] = {"Trusted": "valid", "Valid": "untrusted"}
NOTES: dict[CredentialState, str] = {
    "valid": "nothing was changed since {signer}, a trusted signer, signed it",
    "untrusted": "nothing was changed since it was signed, but no list of trusted signers names {signer}",
}


def read_credentials(source: bytes | Path) -> ContentCredentials:
    """Read what a file claims about its origin. An unreadable or changed manifest is an answer, not an error.

    Args:
        source: path of the file, or its content.

    Raises:
        OSError: the file, or the file named by DEEPFAKE_C2PA_TRUST, cannot be read.
    """
    if isinstance(source, bytes):
        has_marker = any(marker in source for marker in MANIFEST_MARKERS)
        return _verify(io.BytesIO(source)) if has_marker else ABSENT
    with source.open("rb") as stream:
        return _verify(stream) if _has_marker(stream) else ABSENT


def _has_marker(stream: BinaryIO) -> bool:
    if os.fstat(stream.fileno()).st_size == 0:
        return False
    with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(content.find(marker) >= 0 for marker in MANIFEST_MARKERS)


def _verify(stream: BinaryIO) -> ContentCredentials:
    mime = mime_of(stream.read(HEAD_BYTES))
    stream.seek(0)
    if mime is None:
        return ABSENT
    try:
        import c2pa  # 0.1 s, and few files have a manifest
    except ModuleNotFoundError:
        return UNREAD

    settings: dict[str, Any] = {"verify": NO_NETWORK}
    if trust_file := os.environ.get(TRUST_VARIABLE):
        settings["trust"] = {"trust_anchors": Path(trust_file).read_text(encoding="ascii")}
    try:
        with c2pa.Reader(mime, stream, context=c2pa.Context.from_dict(settings)) as reader:
            return _credentials_of(json.loads(reader.json()))
    except (c2pa.C2paError.ManifestNotFound, c2pa.C2paError.NotSupported):
        return ABSENT
    except c2pa.C2paError as error:
        # The library has a class for a manifest at an address, and raises the base class with this text.
        if isinstance(error, c2pa.C2paError.RemoteManifest) or str(error).startswith(REMOTE_MANIFEST):
            return ELSEWHERE
        return _invalid(str(error))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, RecursionError):  # valid JSON of another shape
        return UNKNOWN_FORM


def _credentials_of(store: dict[str, Any]) -> ContentCredentials:
    """Credentials of a manifest store as the library reports it."""
    state = STATES.get(store.get("validation_state", ""))
    if state is None:
        status = store.get("validation_status") or [{}]
        return _invalid(status[-1].get("explanation") or status[-1].get("code") or "")
    active = store["manifests"][store["active_manifest"]]
    signer = clean_text((active.get("signature_info") or {}).get("issuer"))
    by_ai = _is_made_by_ai(store)
    note = NOTES[state].format(signer=signer or "the signer") + ("; it says itself that AI made it" if by_ai else "")
    return ContentCredentials(state=state, generator=_generator(active), made_by_ai=by_ai, signer=signer, note=note)


def _invalid(problem: str) -> ContentCredentials:
    reason = clean_text(problem) or "no reason given"
    return ContentCredentials(
        state="invalid",
        note=f"the file or its credentials were changed after signing, so they prove nothing ({reason})",
    )


def _generator(manifest: dict[str, Any]) -> str | None:
    info: dict[str, Any] = next(iter(manifest.get("claim_generator_info") or []), {})
    name = " ".join(clean_text(info[key]) or "" for key in ("name", "version") if info.get(key))
    return clean_text(name or manifest.get("claim_generator"))


def _is_made_by_ai(store: dict[str, Any]) -> bool | None:
    """Whether any recorded action names AI as its source; None where no action names a source."""
    sources = list(_sources(store))
    return any(source.rsplit("/", 1)[-1] in AI_SOURCES for source in sources) if sources else None


def _sources(store: dict[str, Any]) -> Iterator[str]:
    for manifest in store["manifests"].values():
        for assertion in manifest.get("assertions") or []:
            if str(assertion.get("label", "")).startswith("c2pa.actions"):
                actions = (assertion.get("data") or {}).get("actions") or []
                yield from (str(action["digitalSourceType"]) for action in actions if action.get("digitalSourceType"))
