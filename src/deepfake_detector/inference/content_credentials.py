"""An encoded picture or video -> the Content Credentials (C2PA) it carries, checked offline."""

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

# PEM file of the authorities whose signers are trusted. None ship with the code: such lists change, and are not ours.
TRUST_VARIABLE = "DEEPFAKE_C2PA_TRUST"
MARKS = (b"c2pa", b"C2PA")  # every embedded manifest holds one: without it the library need not be loaded
NO_NETWORK = {"remote_manifest_fetch": False, "ocsp_fetch": False}
MADE_BY_AI = ("trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia")
ABSENT = ContentCredentials(
    state="absent",
    note="the file carries no Content Credentials, which means nothing: most files have none, and they come off easily",
)
STATES: dict[str, CredentialState] = {"Trusted": "valid", "Valid": "untrusted"}
NOTES: dict[CredentialState, str] = {
    "valid": "nothing was changed since {signer}, a trusted signer, signed it",
    "untrusted": "nothing was changed since it was signed, but no list of trusted signers names {signer}",
}


def read_credentials(source: bytes | Path) -> ContentCredentials:
    """Read what a file says of its own origin; never asks the network, and never fails on what it finds.

    Args:
        source: the file, or its content.

    Raises:
        OSError: the file, or the one that DEEPFAKE_C2PA_TRUST names, cannot be read.
    """
    if isinstance(source, bytes):
        marked = any(mark in source for mark in MARKS)
        return _read(io.BytesIO(source)) if marked else ABSENT
    with source.open("rb") as stream:
        return _read(stream) if _is_marked(stream) else ABSENT


def _is_marked(stream: BinaryIO) -> bool:
    if os.fstat(stream.fileno()).st_size == 0:
        return False
    with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(content.find(mark) >= 0 for mark in MARKS)


def _read(stream: BinaryIO) -> ContentCredentials:
    mime = mime_of(stream.read(HEAD_BYTES))
    stream.seek(0)
    if mime is None:
        return ABSENT
    import c2pa  # 0.1 s, for the few files that carry a manifest

    settings: dict[str, Any] = {"verify": NO_NETWORK}
    if trusted := os.environ.get(TRUST_VARIABLE):
        settings["trust"] = {"trust_anchors": Path(trusted).read_text(encoding="ascii")}
    try:
        with c2pa.Reader(mime, stream, context=c2pa.Context.from_dict(settings)) as reader:
            return _told(json.loads(reader.json()))
    except (c2pa.C2paError.ManifestNotFound, c2pa.C2paError.NotSupported):
        return ABSENT
    except c2pa.C2paError as error:
        return _invalid(str(error))


def _told(store: dict[str, Any]) -> ContentCredentials:
    """The answer of a manifest store as the library reports it."""
    state = STATES.get(store.get("validation_state", ""))
    if state is None:
        status = store.get("validation_status") or [{}]
        return _invalid(status[-1].get("explanation") or status[-1].get("code") or "no reason given")
    active = store["manifests"][store["active_manifest"]]
    signer = (active.get("signature_info") or {}).get("issuer")
    by_ai = _made_by_ai(store)
    note = NOTES[state].format(signer=signer or "the signer") + ("; it says itself that AI made it" if by_ai else "")
    return ContentCredentials(state=state, generator=_generator(active), made_by_ai=by_ai, signer=signer, note=note)


def _invalid(why: str) -> ContentCredentials:
    return ContentCredentials(
        state="invalid", note=f"the file or its credentials were changed after signing, so they prove nothing ({why})"
    )


def _generator(manifest: dict[str, Any]) -> str | None:
    info: dict[str, Any] = next(iter(manifest.get("claim_generator_info") or []), {})
    named = " ".join(str(info[key]) for key in ("name", "version") if info.get(key))
    return named or manifest.get("claim_generator")


def _made_by_ai(store: dict[str, Any]) -> bool | None:
    """Whether any step of the file's history names AI as its source; None where no step names a source."""
    sources = list(_sources(store))
    return any(source.rsplit("/", 1)[-1] in MADE_BY_AI for source in sources) if sources else None


def _sources(store: dict[str, Any]) -> Iterator[str]:
    for manifest in store["manifests"].values():
        for assertion in manifest.get("assertions") or []:
            if str(assertion.get("label", "")).startswith("c2pa.actions"):
                actions = (assertion.get("data") or {}).get("actions") or []
                yield from (str(action["digitalSourceType"]) for action in actions if action.get("digitalSourceType"))
