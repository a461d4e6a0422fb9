"""First bytes of a file -> what it is: image or video, its media type, its name in words; suffixes are ignored.

The command line, the scan, the service and the reader of Content Credentials all ask this module.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["image", "video", "other"]
HEAD_BYTES = 512


@dataclass(frozen=True)
class FileType:
    """What the first bytes of a file announce.

    Attributes:
        kind: "other" is a document that is neither an image nor a video.
        name: in words, with an article, for messages: "a JPEG image".
        mime: media type; "" for formats that are not read.
        supported: whether this program reads it.
    """

    kind: Kind
    name: str
    mime: str = ""
    supported: bool = True


def _image(name: str, mime: str) -> FileType:
    return FileType("image", name, mime)


def _video(name: str, mime: str) -> FileType:
    return FileType("video", name, mime)


def _unread(name: str, kind: Kind = "image") -> FileType:
    return FileType(kind, name, supported=False)


# Tried in this order; of two that match the longer comes first.
_SIGNATURES = {
    b"\xff\xd8\xff": _image("a JPEG image", "image/jpeg"),
    b"\x89PNG\r\n\x1a\n": _image("a PNG image", "image/png"),
    b"GIF87a": _image("a GIF image", "image/gif"),
    b"GIF89a": _image("a GIF image", "image/gif"),
    b"BM": _image("a BMP image", "image/bmp"),
    b"II*\x00": _image("a TIFF image", "image/tiff"),
    b"MM\x00*": _image("a TIFF image", "image/tiff"),
    b"II+\x00": _image("a BigTIFF image", "image/tiff"),
    b"MM\x00+": _image("a BigTIFF image", "image/tiff"),
    b"FUJIFILMCCD-RAW": _image("a Fujifilm camera raw file", "image/x-fuji-raf"),  # read by their previews, as DNG,
    b"IIRO": _image("an Olympus camera raw file", "image/x-olympus-orf"),  # CR2, NEF and ARW are, which begin as TIFF
    b"IIRS": _image("an Olympus camera raw file", "image/x-olympus-orf"),
    b"MMOR": _image("an Olympus camera raw file", "image/x-olympus-orf"),
    b"\x1a\x45\xdf\xa3": _video("a Matroska or WebM video", "video/x-matroska"),
    b"FLV\x01": _video("an FLV video", "video/x-flv"),
    b"OggS": _video("an Ogg video", "video/ogg"),
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": _video("a WMV video", "video/x-ms-asf"),
    b"\x00\x00\x01\xba": _video("an MPEG program stream", "video/mpeg"),
    b"\xff\x0a": _unread("a JPEG XL image"),
    b"\x00\x00\x00\x0cJXL \r\n\x87\n": _unread("a JPEG XL image"),
    b"\x00\x00\x00\x0cjP  \r\n\x87\n": _unread("a JPEG 2000 image"),
    b"\xff\x4f\xff\x51": _unread("a JPEG 2000 image"),
    b"IIU\x00": _unread("a Panasonic camera raw file"),
    b"FOVb": _unread("a Sigma camera raw file"),
    b"\x00MRM": _unread("a Minolta camera raw file"),
    b"8BPS": _unread("a Photoshop document"),
    b"\x76\x2f\x31\x01": _unread("an OpenEXR image"),
    b"#?RADIANCE": _unread("a Radiance HDR image"),
    b"\x00\x00\x01\x00": _unread("an icon file"),
    b"DDS ": _unread("a DirectDraw texture"),
    b"gimp xcf": _unread("a GIMP document"),
    b"qoif": _unread("a QOI image"),
    b"BPG\xfb": _unread("a BPG image"),
    b"\x00\x00\x01\xb3": _unread("a raw MPEG video stream", "video"),
    b"DKIF": _unread("an IVF video", "video"),
    b"YUV4MPEG2 ": _unread("an uncompressed YUV4MPEG2 video", "video"),
    b"\x06\x0e\x2b\x34\x02\x05\x01\x01": _unread("an MXF video", "video"),
    b"\x1f\x07\x00": _unread("a raw DV stream", "video"),
    b".RMF": _unread("a RealMedia video", "video"),
    b"nut/multimedia container\0": _unread("a NUT video", "video"),
    b"%PDF-": _unread("a PDF document", "other"),
    b"%!PS": _unread("a PostScript document", "other"),
    b"PK\x03\x04": _unread("a zip archive", "other"),
}
# A start code, then the first unit: parameters, remarks or a delimiter.
_RAW_H264 = re.compile(rb"\0\0\0?\x01(?:[\x27\x47\x67]|\x06[\0-\x2f]|\x09[\x10-\xf0]\0\0)")
_RAW_HEVC = re.compile(rb"\0\0\0?\x01[\x40\x46]\x01")
_PNM = re.compile(rb"P[1-7][ \t\r\n]")
_SVG = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*|<!DOCTYPE svg[^>]*>\s*)*<svg[\s>]", re.S)
_HTML = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype html|html)[\s>]", re.I)
_RIFF = {
    b"WEBP": _image("a WebP image", "image/webp"),
    b"AVI ": _video("an AVI video", "video/avi"),
    b"WAVE": _unread("a WAV sound", "other"),
}
# Brands of ISO media files that hold images. Those of AVIF and HEIC name the codec, the others do not.
_AVIF, _HEIC = _image("an AVIF image", "image/avif"), _image("an HEIC image", "image/heic")
_HEIF = _image("an HEIF image", "image/heif")
_ISO_IMAGES = {
    **dict.fromkeys((b"avif", b"avis"), _AVIF),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"), _HEIC),
    **dict.fromkeys((b"mif1", b"mif2", b"msf1", b"miaf"), _HEIF),
}
_ISO_VIDEOS = re.compile(rb"iso.|mp4.|M4[VAPB].|3g..|qt  |avc.|dash|MSNV|F4V |f4v |mmp4|NDS.|ndx?.|XAVC|CAEP|jp2 ")
_QUICKTIME = _video("a QuickTime video", "video/quicktime")
_MP4 = _video("an MP4 video", "video/mp4")
_CANON_RAW = _unread("a Canon camera raw file")
# As libav's own probes: MP4 and QuickTime name their first box at byte 4, MPEG-TS marks every packet of 188 bytes (192
# on cameras, after a time stamp of 4).
_QUICKTIME_BOXES = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_TRANSPORT_STREAM = _video("an MPEG transport stream", "video/mp2t")
_PACKET_STARTS = ((0, 188), (4, 196))


def file_type(head: bytes) -> FileType | None:
    """What a file that starts with `head` (`HEAD_BYTES` bytes) is; None if unknown."""
    for signature, found in _SIGNATURES.items():
        if head.startswith(signature):
            return found
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _iso_media_type(head)
    if head[4:8] in _QUICKTIME_BOXES:
        return _QUICKTIME
    if len(head) > _PACKET_STARTS[1][1] and any(head[a] == head[b] == 0x47 for a, b in _PACKET_STARTS):
        return _TRANSPORT_STREAM
    return _text_type(head)


def mime_of(head: bytes) -> str | None:
    """The media type of a file that starts with `head`; None if it is unknown or not read."""
    found = file_type(head)
    return found.mime if found is not None and found.supported else None


def looks_like_image(head: bytes) -> bool:
    """Whether a file that starts with `head` announces an image, also one of a format that is not read."""
    return _kind(head) == "image"


def looks_like_video(head: bytes) -> bool:
    """Whether a file that starts with `head` announces one of the supported video containers."""
    return _kind(head) == "video"


def iso_brands(head: bytes) -> list[bytes]:
    """The major brand of an ISO media file, then the compatible ones, as far as `head` holds them."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    return [head[8:12], *(head[at : at + 4] for at in range(16, end - 3, 4))]


def _kind(head: bytes) -> Kind | None:
    found = file_type(head)
    return None if found is None else found.kind


def _iso_media_type(head: bytes) -> FileType:
    major, *compatible = iso_brands(head)
    if major in _ISO_IMAGES:
        return _ISO_IMAGES[major]
    if major == b"crx ":
        return _CANON_RAW
    if major == b"qt  ":
        return _QUICKTIME
    if _ISO_VIDEOS.fullmatch(major):
        return _MP4
    return next((_ISO_IMAGES[brand] for brand in compatible if brand in _ISO_IMAGES), _MP4)


def _text_type(head: bytes) -> FileType | None:
    if _RAW_H264.match(head):
        return _unread("a raw H.264 stream", "video")
    if _RAW_HEVC.match(head):
        return _unread("a raw H.265 stream", "video")
    if _PNM.match(head):
        return _unread("a PNM image (PBM, PGM or PPM)")
    if _SVG.match(head):
        return _unread("an SVG drawing", "other")
    return _unread("an HTML page", "other") if _HTML.match(head) else None
