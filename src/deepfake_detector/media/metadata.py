"""Encoded image (bytes) or video file (path) -> what the file says about its origin: camera, software, dates, location.

Everything here was written into the file by somebody and can be missing, wrong or forged. The location is read only on
request. Broken metadata is no error: what cannot be read is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from PIL import ExifTags

from deepfake_detector.errors import DetectorError
from deepfake_detector.media.animation import MAX_ANIMATION_BYTES, may_be_animation
from deepfake_detector.media.file_type import HEAD_BYTES, file_type
from deepfake_detector.media.image import open_image

MAX_TEXT = 200  # characters of one value; generators write whole prompts
MAX_XMP_BYTES = 2**18
PointDeg = tuple[float, float]  # latitude, longitude

# Text chunks in which image generators store their settings: AUTOMATIC1111, ComfyUI, InvokeAI, NovelAI.
_GENERATOR_KEYS = ("parameters", "prompt", "workflow", "invokeai_metadata", "sd-metadata", "Dream")
_AI_SOURCE = re.compile(rb"DigitalSourceType.{0,160}?[tT]rainedAlgorithmicMedia", re.S)
_CREATOR_TOOL = re.compile(rb"xmp:CreatorTool(?:=\"|>)([^\"<]{1,400})")
_ISO_6709 = re.compile(r"^([+-]\d{1,2}(?:\.\d+)?)([+-]\d{1,3}(?:\.\d+)?)")
_EXIF_DATE = re.compile(r"^(\d{4}):(\d\d):(\d\d) (\d\d:\d\d:\d\d)")
_OFFSET = re.compile(r"^[+-]\d\d:\d\d$")


@dataclass(frozen=True)
class FileMetadata:
    """What a file says about its origin; None where it says nothing.

    Attributes:
        format: in words, for example "JPEG image".
        camera: maker and model.
        software: the program that wrote or edited the file.
        taken_at, modified_at: ISO 8601; without an offset it is the camera's local time.
        author: name, or a copyright line.
        generator_settings: beginning of the settings that an image generator stored.
        made_by_ai: True if the XMP metadata name AI as the source; the file's own statement.
        has_location: whether the file holds a position.
        location_deg: that position, only on request.
    """

    format: str | None = None
    camera: str | None = None
    software: str | None = None
    taken_at: str | None = None
    modified_at: str | None = None
    author: str | None = None
    generator_settings: str | None = None
    made_by_ai: bool | None = None
    has_location: bool = False
    location_deg: PointDeg | None = None


def read_metadata(source: bytes | Path, with_location: bool = False) -> FileMetadata:
    """Read the metadata of an image or a video; nothing is decoded.

    Args:
        source: content of an image, or path of a video.
        with_location: read the position, too.

    Raises:
        OSError: the file cannot be read.
    """
    data = source if isinstance(source, bytes) else _beginning(source)
    found = file_type(data[:HEAD_BYTES])
    if isinstance(source, bytes) or (found is not None and found.kind == "image"):
        values = _image_values(data)
    else:
        values = _video_values(source)
    location: PointDeg | None = values.pop("location_deg", None)
    return FileMetadata(
        **values,
        format=None if found is None else found.name.split(" ", 1)[1],
        has_location=location is not None,
        location_deg=location if with_location else None,
    )


def _beginning(path: Path) -> bytes:
    """Of a video a few bytes, of an animation all that `open_video` would read."""
    with path.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
        return head + stream.read(MAX_ANIMATION_BYTES) if may_be_animation(head) else head


def clean_text(value: object) -> str | None:
    """A value of a file as one line of printable text, at most `MAX_TEXT` characters; None if nothing is left."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
    text = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * MAX_TEXT]).split())
    return (text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…") or None


def _image_values(data: bytes) -> dict[str, Any]:
    try:
        image = open_image(data)
    except DetectorError:  # a camera raw file, whose preview was decoded
        return {}
    values: dict[str, Any] = {}
    with suppress(Exception):  # Pillow raises nearly anything on broken blocks
        exif = image.getexif()
        values |= _exif_values(exif, exif.get_ifd(ExifTags.IFD.Exif))
        values["location_deg"] = _gps_position(exif.get_ifd(ExifTags.IFD.GPSInfo))
    info = {str(key): value for key, value in image.info.items() if isinstance(value, str | bytes)}
    values["generator_settings"] = next((clean_text(info[key]) for key in _GENERATOR_KEYS if info.get(key)), None)
    xmp = info.get("xmp", info.get("XML:com.adobe.xmp", b""))
    xmp = (xmp.encode("utf-8", "replace") if isinstance(xmp, str) else xmp)[:MAX_XMP_BYTES]
    tool = _CREATOR_TOOL.search(xmp)
    software = values.get("software") or clean_text(info.get("Software")) or (tool and clean_text(tool[1]))
    return values | {"software": software or None, "made_by_ai": True if _AI_SOURCE.search(xmp) else None}


def _exif_values(exif: Mapping[int, Any], details: Mapping[int, Any]) -> dict[str, Any]:
    base = ExifTags.Base
    return {
        "camera": _camera(exif.get(base.Make), exif.get(base.Model)),
        "software": clean_text(exif.get(base.Software)),
        "taken_at": _exif_time(details.get(base.DateTimeOriginal), details.get(base.OffsetTimeOriginal)),
        "modified_at": _exif_time(exif.get(base.DateTime), details.get(base.OffsetTime)),
        "author": clean_text(exif.get(base.Artist)) or clean_text(exif.get(base.Copyright)),
    }


def _camera(make: object, model: object) -> str | None:
    """Maker and model; many models begin with the maker's name."""
    maker, name = clean_text(make), clean_text(model)
    if maker and name and name.lower().startswith(maker.split()[0].lower()):
        return name
    return " ".join(filter(None, (maker, name))) or None


def _exif_time(value: object, offset: object) -> str | None:
    found = _EXIF_DATE.match(clean_text(value) or "")
    if found is None:
        return None
    zone = clean_text(offset) or ""
    return _iso_time(f"{found[1]}-{found[2]}-{found[3]}T{found[4]}{zone if _OFFSET.match(zone) else ''}")


def _iso_time(text: str | None) -> str | None:
    """An ISO 8601 time, checked; None if it is none, or the zero that devices write without a clock."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment.isoformat(timespec="seconds") if moment.year > 1970 else None


def _gps_position(gps: Mapping[int, Any]) -> PointDeg | None:
    tags = ExifTags.GPS
    if tags.GPSLatitude not in gps or tags.GPSLongitude not in gps:
        return None
    latitude = _degrees(gps[tags.GPSLatitude], str(gps.get(tags.GPSLatitudeRef, "N")) == "S")
    return _checked_position(latitude, _degrees(gps[tags.GPSLongitude], str(gps.get(tags.GPSLongitudeRef, "E")) == "W"))


def _degrees(parts: Any, negative: bool) -> float:
    degrees = float(sum(float(part) / 60**power for power, part in enumerate(parts)))
    return -degrees if negative else degrees


def _checked_position(latitude: float, longitude: float) -> PointDeg | None:
    if abs(latitude) <= 90 and abs(longitude) <= 180:  # False for NaN, too
        return round(latitude, 6), round(longitude, 6)
    return None


def _video_values(path: Path) -> dict[str, Any]:
    from deepfake_detector.media.video_stream import container_tags  # loads libav: 0.1 s

    tags = {key.lower().removeprefix("com.apple.quicktime."): value for key, value in container_tags(path).items()}
    position = _ISO_6709.match(tags.get("location.iso6709", tags.get("location", "")))
    return {
        "camera": _camera(tags.get("make"), tags.get("model")),
        "software": next((clean_text(tags[key]) for key in ("software", "encoder", "writer") if tags.get(key)), None),
        "taken_at": _iso_time(clean_text(tags.get("creationdate", tags.get("creation_time")))),
        "author": clean_text(tags.get("artist")) or clean_text(tags.get("copyright")),
        "location_deg": _checked_position(float(position[1]), float(position[2])) if position else None,
    }
