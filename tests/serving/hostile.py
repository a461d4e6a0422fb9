"""Valid images and clips -> hundreds of hostile files: truncated, fuzzed, bombs, false headers, polyglots, references.

python tests/serving/hostile.py http://127.0.0.1:3000    sends them all to a service and counts its answers
"""

from __future__ import annotations

import io
import struct
import sys
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

IMAGE_FORMATS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "JPEG": {"quality": 85},
    "WEBP": {},
    "GIF": {},
    "BMP": {},
    "TIFF": {"compression": "tiff_lzw"},
}
VIDEO_FORMATS = {"mp4": "mpeg4", "avi": "mjpeg", "mkv": "mpeg4", "webm": "libvpx", "gif": "gif", "ts": "mpeg2video"}
EXTREME_PX = (0, 1, 65_535, 65_536, 2**31 - 1, 2**32 - 1)

HostileFile = tuple[str, str, bytes]  # description, form field, content


def hostile_files(rgb: NDArray[np.uint8], fuzzed: int = 12, seed: int = 1) -> Iterator[HostileFile]:
    """Generate hostile files.

    Args:
        rgb: an image uint8 (height, width, 3), best with a face.
        fuzzed: fuzzed copies of each valid file.
        seed: of the random changes.
    """
    rng = np.random.default_rng(seed)
    valid = {("image", name): encode_image(rgb, name) for name in IMAGE_FORMATS}
    valid |= {("video", name): encode_clip(rgb, name, codec) for name, codec in VIDEO_FORMATS.items()}
    for (field, name), data in valid.items():
        for i in range(1, 8):
            yield f"first {i}/8 of a {name}", field, data[: len(data) * i // 8]
        for i in range(fuzzed):
            yield f"fuzzed {name} {i}", field, fuzz(data, rng, 2 ** (i % 9))
        yield f"{name} of zeros", field, data[:64] + bytes(len(data) - 64)
        yield f"{name} in the wrong field", "video" if field == "image" else "image", data
    for name, data in {
        **false_headers(valid["image", "BMP"], valid["image", "GIF"], valid["image", "JPEG"]),
        **bombs(),
        **costly(rgb),
    }.items():
        yield name, "image", data
    for name, data in thin_images().items():
        yield name, "image", data
    for name, data in {
        **tiff_layouts(rgb),
        **animations(rgb),
        **raw_streams(valid["video", "mp4"], valid["video", "ts"]),
    }.items():
        yield name, "image", data
        yield name, "video", data
    for name, data in {**other_formats(valid["image", "JPEG"], valid["video", "mp4"]), **references()}.items():
        yield name, "image", data
        yield name, "video", data


def encode_image(rgb: NDArray[np.uint8], name: str) -> bytes:
    """Encode a valid image."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, name, **IMAGE_FORMATS[name])
    return buffer.getvalue()


def encode_clip(rgb: NDArray[np.uint8], name: str, codec: str) -> bytes:
    """Encode a valid clip of 12 frames."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format={"ts": "mpegts", "mkv": "matroska"}.get(name, name)) as container:
        stream: Any = container.add_stream(codec, rate=12 if codec != "mpeg2video" else 25)
        height, width = rgb.shape[:2]
        stream.width, stream.height = width, height
        stream.pix_fmt = {"gif": "rgb8", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
        for _ in range(12):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def fuzz(data: bytes, rng: np.random.Generator, changes: int) -> bytes:
    """Change bytes at random, most of them near the start, where the headers are."""
    fuzzed = bytearray(data)
    for _ in range(changes):
        position = int(min(rng.exponential(len(data) / 6), len(data) - 1))
        fuzzed[position] = int(rng.integers(256))
    return bytes(fuzzed)


def png(width: int, height: int, pixels: bytes, colour: int = 2) -> bytes:
    """Build a PNG with any header."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def false_headers(bmp: bytes, gif: bytes, jpeg: bytes) -> dict[str, bytes]:
    """Images whose headers declare extreme sizes."""
    files = {}
    frame = jpeg.index(b"\xff\xc0")
    for px in EXTREME_PX:
        files[f"png of {px}"] = png(px, px, zlib.compress(b"\0" * 100))
        files[f"bmp of {px}"] = bmp[:18] + struct.pack("<II", px, px) + bmp[26:]
        files[f"gif of {px}"] = gif[:6] + struct.pack("<HH", px % 65536, px % 65536) + gif[10:]
        files[f"jpeg of {px}"] = jpeg[: frame + 5] + struct.pack(">HH", px % 65536, px % 65536) + jpeg[frame + 9 :]
        tags = [(256, px), (257, px), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, px), (279, px)]
        table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
        files[f"tiff of {px}"] = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + table + struct.pack("<I", 8)
    return files


def bombs() -> dict[str, bytes]:
    """Small files that need much memory or time to decode."""
    row = b"\0" * (1 + 3 * 7000)
    lines = zlib.compressobj(1)
    packed = b"".join(lines.compress(row * 100) for _ in range(70)) + lines.flush()
    frames = io.BytesIO()
    tiny = Image.new("P", (2000, 2000))
    tiny.save(frames, "GIF", save_all=True, append_images=[Image.new("P", (2000, 2000), i % 7) for i in range(60)])
    text = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 2**31 - 1) + b"tEXt" + b"x" * 100
    return {
        "png of 49 megapixels": png(7000, 7000, packed),
        "png that unpacks past its end": png(10, 10, zlib.compress(bytes(80_000_000), 1)),
        "png of a megapixel wide line": png(49_000_000, 1, zlib.compress(bytes(147_000_001), 1)),
        "gif of sixty large frames": frames.getvalue(),
        "png with an endless text": text,
    }


def costly(rgb: NDArray[np.uint8]) -> dict[str, bytes]:
    """Files of a few bytes per second of processor time, unless a limit stops them."""
    buffer, blank = io.BytesIO(), io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", progressive=True)
    jpeg = buffer.getvalue()
    last = jpeg.rindex(b"\xff\xda")
    Image.new("RGB", (7000, 7000)).save(blank, "WEBP", lossless=True, quality=0, method=0)
    strips = 200_000
    tags = [(256, 1), (257, strips), (258, 8), (259, 1), (262, 1), (273, None), (277, 1), (278, 1), (279, None)]
    arrays_at = 8 + 2 + 12 * len(tags) + 4
    table = b"".join(
        struct.pack("<HHII", tag, 4, strips if value is None else 1, arrays_at if value is None else value)
        for tag, value in tags
    )
    array = struct.pack("<I", 8) * strips
    xmp = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta><rdf:RDF dcterms:provenance="http://127.0.0.1:1/c2pa"/>'
    return {
        "jpeg of 5000 scans": jpeg[:last] + jpeg[last:-2] * 5000 + jpeg[-2:],
        "webp of 49 megapixels in a few bytes": blank.getvalue(),
        "tiff of 200000 strips": b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + table + bytes(4) + array,
        "jpeg with a manifest at an address": jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp + jpeg[2:],
    }


def thin_images() -> dict[str, bytes]:
    """Pictures of one or two pixels by thousands: resized, a side may become nothing."""
    files = {}
    for size in ((1, 20_000), (20_000, 1), (2, 30_000), (30_000, 2), (1, 1)):
        for name in ("PNG", "JPEG", "TIFF", "BMP"):
            buffer = io.BytesIO()
            Image.new("RGB", size, "red").save(buffer, name)
            files[f"{name} of {size[0]} x {size[1]}"] = buffer.getvalue()
    return files


def tiff_layouts(rgb: NDArray[np.uint8]) -> dict[str, bytes]:
    """TIFF files with directories that point to each other, to nowhere, or to far more than there is."""
    buffer, pages = io.BytesIO(), io.BytesIO()
    image = Image.fromarray(rgb)
    image.save(buffer, "TIFF")
    image.save(pages, "TIFF", save_all=True, append_images=[image.resize((9, 9))] * 400)
    plain = buffer.getvalue()
    start = struct.unpack_from("<I", plain, 4)[0]
    (entries,) = struct.unpack_from("<H", plain, start)
    link = start + 2 + 12 * entries
    planes = struct.pack("<HHII", 284, 3, 1, 2)
    big_head = b"MM\0+\0\x08\0\0" + struct.pack(">Q", 16)
    return {
        "tiff of 401 pages": pages.getvalue(),
        "tiff whose pages are a circle": plain[:link] + plain[4:8] + plain[link + 4 :],
        "tiff whose next page lies beyond its end": plain[:link] + b"\xff\xff\xff\x7f" + plain[link + 4 :],
        "tiff with planes that are not there": plain.replace(struct.pack("<HHII", 284, 3, 1, 1), planes),
        "tiff with a thumbnail only": plain.replace(struct.pack("<HH", 256, 3), struct.pack("<HH", 254, 3)),
        "bigtiff of 2 to the 63 entries": big_head + struct.pack(">Q", 2**63) + bytes(100),
        "bigtiff of long arrays": big_head + struct.pack(">QHHQQ", 1, 273, 16, 2**61, 16) + bytes(8),
        "bigtiff that points at itself": big_head[:8] + struct.pack(">Q", 8) + bytes(64),
    }


def animations(rgb: NDArray[np.uint8]) -> dict[str, bytes]:
    """Animations with frames that are hidden, false in number, or without time."""
    images = [Image.fromarray(rgb), Image.fromarray(255 - rgb), Image.fromarray(rgb[::-1].copy())]
    files = {}
    kinds: dict[str, dict[str, Any]] = {"PNG": {"default_image": True}, "GIF": {"duration": 0}, "WEBP": {"duration": 0}}
    for name, options in kinds.items():
        buffer = io.BytesIO()
        images[0].save(buffer, name, save_all=True, append_images=images[1:], **options)
        files[f"animated {name}"] = buffer.getvalue()
    data = files["animated PNG"]
    at = data.index(b"acTL")
    counted = b"acTL" + struct.pack(">II", 2**31 - 1, 0)
    files["animated PNG of 2 billion frames"] = (
        data[:at] + counted + struct.pack(">I", zlib.crc32(counted)) + data[at + 16 :]
    )
    return files


def raw_streams(mp4: bytes, ts: bytes) -> dict[str, bytes]:
    """Videos without a container, in a false one, or of an image's brand."""
    return {
        "raw h264": b"\0\0\0\x01\x67\x42\0\x1e" + bytes(500),
        "raw hevc": b"\0\0\0\x01\x40\x01\x0c\x01" + bytes(500),
        "mp4 of the brand of a heif sequence": mp4[:8] + b"msf1" + mp4[12:],
        "mp4 of the brand of a heic image": mp4[:8] + b"heic" + mp4[12:],
        "ts in an mp4": mp4[:40] + ts,
        "two videos": ts + mp4,
        "moov of zero length": mp4.replace(b"moov", b"free"),
    }


def other_formats(jpeg: bytes, mp4: bytes) -> dict[str, bytes]:
    """Files of other formats, and of two formats at once."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a", bytes(10_000_000))
    zipped = archive.getvalue()
    return {
        "empty file": b"",
        "one byte": b"\xff",
        "text": b"hello " * 1000,
        "html": b"<!doctype html><script>alert(1)</script>",
        "pdf": b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\n",
        "elf": b"\x7fELF\x02\x01\x01" + bytes(500),
        "zip": zipped,
        "gzip bomb": zlib.compress(zlib.compress(bytes(50_000_000), 1), 1),
        "noise": np.random.default_rng(2).bytes(50_000),
        "invalid content credentials": jpeg[:2]
        + b"\xff\xeb\x00\x22JP\0\x01\0\0\0\x01\0\0\0\x18jumb"
        + b"c2pa" * 4
        + jpeg[2:],
        "jpeg then zip": jpeg + zipped,
        "zip then jpeg": zipped + jpeg,
        "jpeg then mp4": jpeg + mp4,
        "mp4 then jpeg": mp4 + jpeg,
        "gif that is a script": b"GIF89a/*" + bytes(40) + b"*/=alert(1)//;",
        "several image signatures": b"".join(start + bytes(9) for start in (b"\xff\xd8\xff", b"\x89PNG", b"GIF89a")),
        "boxes in boxes": b"".join(struct.pack(">I", 8 * (400 - i)) + b"moov" for i in range(400)),
        "a box of extreme length": struct.pack(">I4sQ", 1, b"moov", 2**63) + b"ftypisom",
        "ebml of extreme length": b"\x1aE\xdf\xa3\x01" + b"\xff" * 200,
        "riff with a false length": b"RIFF\xff\xff\xff\xffAVI LIST\xff\xff\xff\xffhdrl" + bytes(100),
        "ogg page after page": b"OggS\0\x02" + bytes(20) + b"\x01\xff" * 300,
    }


def references() -> dict[str, bytes]:
    """Files that refer to other files and hosts."""
    return {
        "hls": b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        "hls after a line": b"\n#EXTM3U\nhttp://127.0.0.1:1/a.ts\n",
        "dash": b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>file:///etc/</BaseURL></MPD>',
        "concat": b"ffconcat version 1.0\nfile /etc/passwd\n",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "xml entity": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><svg>&b;</svg>',
        "sdp": b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=video 1 RTP/AVP 96\r\n",
        "an address": b"http://127.0.0.1:1/secret.jpg",
        "magick": b"push graphic-context\nimage over 0,0 0,0 'https://127.0.0.1/x'\npop graphic-context",
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n",
    }


def main() -> None:
    """Send all files from four clients; list those whose answer is no 200, 4xx, or 503 or 507 with Retry-After."""
    from concurrent.futures import ThreadPoolExecutor

    import httpx

    from deepfake_detector.datasets.synthetic_faces.sample import draw_sample

    portrait = np.array(Image.open(io.BytesIO(draw_sample(3, "test", "real", 0))).convert("RGB"))
    with httpx.Client(base_url=sys.argv[1], timeout=180) as client, ThreadPoolExecutor(4) as pool:

        def post(file: HostileFile) -> tuple[str, int]:
            name, field, data = file
            answer = client.post(f"/predict_{field}", files={field: ("../../etc/passwd", data)})
            busy = answer.status_code in (503, 507) and int(answer.headers.get("retry-after", 0)) > 0
            return name, 429 if busy else answer.status_code

        answers = list(pool.map(post, hostile_files(portrait)))
    print(len(answers), "files:", dict(sorted(Counter(status for _, status in answers).items())))
    print("neither 200 nor 4xx:", [name for name, status in answers if status != 200 and status // 100 != 4])


if __name__ == "__main__":
    main()
