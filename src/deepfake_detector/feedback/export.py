"""Accepted cases and the present data -> two zips for labelled sources (train, held out) and a JSON of their origin.

The held-out zip is a source with `use: test`: its pictures are never trained, calibrated or tuned on. What resembles a
validation or test picture of the other sources is left out, so these splits stay as they were before any feedback.
"""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from deepfake_detector.datasets.archive import LABELS, LABELS_COLUMNS, Entry
from deepfake_detector.datasets.safe_zip import write_zip
from deepfake_detector.errors import BadInput
from deepfake_detector.feedback.near_copies import groups_of_copies, near_copies
from deepfake_detector.feedback.review import Case
from deepfake_detector.feedback.selection import capped, is_held_out
from deepfake_detector.feedback.store import Label
from deepfake_detector.io import atomic_write, sha256_of_file, write_json
from deepfake_detector.paths import Workspace
from deepfake_detector.validation.image_record import describe_image
from deepfake_detector.validation.manifest import read_manifest

HELD_OUT = "held_out"  # name of the second source: NAME_held_out
LABELS_CSV = "labels.csv"
HELD_OUT_SPLITS = ("valid", "test")
_CANDIDATES = "FEEDBACK-CANDIDATES"  # of the temporary archive; names of sources have small letters


@dataclass(frozen=True)
class ExportRules:
    """What is exported.

    Attributes:
        name: of the source; pictures of older exports with this name are not compared with.
        held_out_share: share of the groups that is never trained on.
        max_reporter_share: share of the exported pictures that one reporter may have given.
        near_duplicate_bits: params.yaml's `validate.near_duplicate_bits`.
        max_unpacked_bytes: of one zip.
    """

    name: str = "feedback"
    held_out_share: float = 0.3
    max_reporter_share: float = 0.5
    near_duplicate_bits: int = 4
    max_unpacked_bytes: int = 8 * 2**30

    @property
    def sources(self) -> tuple[str, str]:
        """Names of the two sources: for training, and held out."""
        return self.name, f"{self.name}_{HELD_OUT}"


@dataclass(frozen=True)
class ExportedPicture:
    """One accepted picture of an export.

    Attributes:
        path: in its zip.
        sha256: of the file.
        group: the smallest digest among the near copies of it that are exported with it; they share a side.
        reporters: who gave the accepted label; it counts for the first. Nobody, if the reviewer chose a label that no
            reporter gave: it counts for who sent the picture first.
        accepted_by, accepted_at: the person, and when.
        p_fake: score of the model that answered; None if it did not score it.
    """

    path: str
    sha256: str
    label: Label
    group: str
    reporters: tuple[str, ...]
    accepted_by: str
    accepted_at: str
    p_fake: float | None
    model_sha256: str


@dataclass(frozen=True)
class LeftOutPicture:
    """An accepted picture that is not exported: `code` is for programs, `text` for people."""

    case: str
    code: str
    text: str


@dataclass(frozen=True)
class FeedbackExport:
    """What an export holds, by source, and what it leaves out."""

    train: tuple[ExportedPicture, ...]
    held_out: tuple[ExportedPicture, ...]
    left_out: tuple[LeftOutPicture, ...]


@dataclass(frozen=True)
class PresentData:
    """The pictures that the pipeline has now.

    Attributes:
        manifest: as `read_manifest` returns it.
        archives: data/raw.
    """

    manifest: pd.DataFrame
    archives: Path


def read_present_data(workspace: Workspace) -> PresentData:
    """The pictures of a checkout.

    Raises:
        DataRejected: `validate` did not run, or rejected them.
    """
    return PresentData(read_manifest(workspace.manifest), workspace.raw)


def plan_export(
    files: Mapping[str, Path], cases: Sequence[Case], present: PresentData, rules: ExportRules
) -> FeedbackExport:
    """Choose pictures, and say for each accepted one that is left out why.

    Args:
        files: case -> the file of its picture, where it is still kept.
        cases: of `Review.cases`; those that are not accepted are ignored.
        present: what the pictures are compared with.
        rules: limits.

    Raises:
        ArchiveRejected: data/raw is not what the manifest describes.
    """
    accepted = {case.case: case for case in cases if case.status == "accepted"}
    reasons = {name: _EXPIRED for name in accepted if name not in files}
    kept = {name: case for name, case in accepted.items() if name in files}
    groups: dict[str, str] = {}
    if kept:
        found, groups = _compare(kept, files, present, rules)
        reasons |= found
    usable = {name: kept[name] for name in groups if name not in reasons}
    within = capped({name: case.counts_for for name, case in usable.items()}, rules.max_reporter_share)
    over = ("reporter_share", f"its reporter would have given more than {rules.max_reporter_share:.0%} of the pictures")
    reasons |= {name: over for name in usable if name not in within}
    chosen = [_exported(usable[name], files[name], groups[name]) for name in sorted(within)]
    return FeedbackExport(
        train=tuple(each for each in chosen if not is_held_out(each.group, rules.held_out_share)),
        held_out=tuple(each for each in chosen if is_held_out(each.group, rules.held_out_share)),
        left_out=tuple(LeftOutPicture(name, *reasons[name]) for name in sorted(reasons)),
    )


def export_zips(to: Path) -> tuple[Path, Path]:
    """The zips of an export, of pictures to train on and held out; `to` is the first."""
    return to, to.with_name(f"{to.stem}-held-out.zip")


def write_export(export: FeedbackExport, files: Mapping[str, Path], to: Path, rules: ExportRules) -> dict[str, Path]:
    """Write the zips of the sources that have pictures, and a JSON file that says where each picture came from.

    Args:
        export: what to write.
        files: case -> the file of its picture.
        to: the zip of the training source; the others lie beside it.
        rules: for their names.

    Returns:
        Source -> its zip. The same export gives the same bytes.

    Raises:
        BadInput: nothing is to be exported.
    """
    if not export.train and not export.held_out:
        reasons = sorted({each.text for each in export.left_out})
        raise BadInput(
            f"no accepted picture can be exported{': ' if reasons else ''}{'; '.join(reasons)}",
            "accept some (`deepfake feedback list`), or change --max-share if one reporter gave all of them",
        )
    paths = dict(zip(rules.sources, export_zips(to), strict=True))
    parts = dict(zip(rules.sources, ((export.train, "train"), (export.held_out, "test")), strict=True))
    written = {name: paths[name] for name, (pictures, _) in parts.items() if pictures}
    for name, path in written.items():
        _write_source(path, *parts[name], files)
    record = to.with_suffix(".json")
    write_json(record, export_record(export, written))
    record.chmod(0o600)
    return written


def export_record(export: FeedbackExport, written: Mapping[str, Path]) -> dict[str, Any]:
    """Where each exported picture came from, and why others are left out; for an audit."""
    return {
        "sources": {name: {"file": path.name, "sha256": sha256_of_file(path)} for name, path in written.items()},
        **{name: [asdict(each) for each in getattr(export, name)] for name in ("train", "held_out", "left_out")},
    }


def source_entries(written: Mapping[str, Path], fake_kind: str, rules: ExportRules) -> str:
    """The lines to add to `download.sources` in params.yaml."""
    lines = []
    for name, path in written.items():
        use = "train" if name == rules.name else "test"
        location, digest = (
            json.dumps(str(path)),
            json.dumps(sha256_of_file(path)),
        )  # quoted: a digest may look like a number
        values = {"kind": "labelled", "location": location, "sha256": digest, "fake_kind": fake_kind}
        lines += [f"  - name: {name}", *(f"    {key}: {value}" for key, value in values.items())]
        lines += [f"    use: {use}", "    feedback: true"]
    return "\n".join(lines)


_EXPIRED = ("expired", "its picture is not kept any more")


def _exported(case: Case, file: Path, group: str) -> ExportedPicture:
    decision, report = case.decision, case.reports[0]
    if decision is None or case.label is None:
        raise AssertionError(f"{case.case} is not accepted")
    return ExportedPicture(
        path=f"{case.case}{file.suffix}",
        sha256=case.case,
        label=case.label,
        group=group,
        reporters=tuple(case.supporters),
        accepted_by=decision.by,
        accepted_at=decision.time,
        p_fake=report.p_fake,
        model_sha256=report.model_sha256,
    )


def _write_source(path: Path, pictures: Sequence[ExportedPicture], split: str, files: Mapping[str, Path]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(LABELS_COLUMNS)
    writer.writerows((each.path, each.label, split, each.group) for each in pictures)
    with atomic_write(path) as temporary:
        temporary.touch(mode=0o600)
        named = ((each.path, files[each.sha256].read_bytes()) for each in pictures)
        write_zip(temporary, ((LABELS_CSV, text.getvalue().encode()), *named))


def _compare(
    cases: Mapping[str, Case], files: Mapping[str, Path], present: PresentData, rules: ExportRules
) -> tuple[dict[str, tuple[str, str]], dict[str, str]]:
    """Reasons to leave pictures out, and the group of each readable one."""
    with tempfile.TemporaryDirectory(prefix="deepfake-feedback-") as scratch:
        folder = Path(scratch)
        for source in present.archives.iterdir():
            (folder / source.name).symlink_to(source.resolve())
        described = _describe(cases, files, folder / f"{_CANDIDATES}.zip")
        readable, broken = (described[(described["error"] == "") == ok].reset_index(drop=True) for ok in (True, False))
        reasons: dict[str, tuple[str, str]] = {
            str(name): ("unreadable", f"it cannot be decoded: {error}")
            for name, error in zip(broken["case"], broken["error"], strict=True)
        }
        others = present.manifest[~present.manifest["source"].isin(rules.sources)]
        limits = folder, rules.near_duplicate_bits, rules.max_unpacked_bytes
        reasons |= _known_pictures(readable, others, near_copies(readable, others, *limits))
        among = near_copies(readable, readable, *limits)
        reasons |= _contradictions(readable, among)
    numbers, names = groups_of_copies(among, len(readable)).tolist(), [str(name) for name in readable["case"]]
    first: dict[int, str] = {}
    for number, name in sorted(zip(numbers, names, strict=True), key=lambda pair: pair[1]):
        first.setdefault(number, name)
    return reasons, {name: first[number] for number, name in zip(numbers, names, strict=True)}


def _describe(cases: Mapping[str, Case], files: Mapping[str, Path], to: Path) -> pd.DataFrame:
    """Write the pictures into a zip, and describe them as rows of a manifest, with a column `case`."""
    records, pictures = [], {name: f"{name}{files[name].suffix}" for name in sorted(cases)}
    for name, file in pictures.items():
        entry = Entry(f"{_CANDIDATES}/{file}", "train", LABELS[str(cases[name].label)], name, _CANDIDATES)
        records.append(asdict(describe_image(entry, files[name].read_bytes(), "")) | {"case": name})
    write_zip(to, ((file, files[name].read_bytes()) for name, file in pictures.items()))
    return pd.DataFrame(records)


def _known_pictures(candidates: pd.DataFrame, others: pd.DataFrame, pairs: Any) -> dict[str, tuple[str, str]]:
    """Candidates that the data hold already, that resemble held-out pictures, or contradict the data."""
    reasons: dict[str, tuple[str, str]] = {}
    order = {"near_held_out": 0, "contradicts_data": 1, "known": 2}  # the gravest reason is named
    for row, other_row in pairs.tolist():
        ours, other = candidates.iloc[row], others.iloc[other_row]
        if other["split"] in HELD_OUT_SPLITS:
            reason = ("near_held_out", f"it is nearly {other['path']}, a {other['split']} picture")
        elif other["label"] != ours["label"]:
            reason = ("contradicts_data", f"it is nearly {other['path']}, a training picture with the other label")
        else:  # held out, it would be no test; trained on, it would add nothing
            reason = ("known", f"it is nearly the training picture {other['path']}, which has the same label")
        known = reasons.get(ours["case"])
        if known is None or order[reason[0]] < order[known[0]]:
            reasons[ours["case"]] = reason
    return reasons


def _contradictions(candidates: pd.DataFrame, pairs: Any) -> dict[str, tuple[str, str]]:
    """Candidates that are nearly equal and were accepted with different labels."""
    labels, names = candidates["label"].to_numpy(), candidates["case"].to_numpy()
    return {
        names[row]: ("contradicts_feedback", f"it is nearly {names[other]}, which was accepted with the other label")
        for row, other in pairs.tolist()
        if labels[row] != labels[other]
    }
