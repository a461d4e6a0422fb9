"""A seed -> the corpus of small hostile files beside this script: `python -m tests.fuzz.make_corpus`.

Files that once broke something are added by hand, named after what they broke; the script leaves them alone.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.serving import hostile

CORPUS = Path(__file__).with_name("corpus")
COPIES, SEED, SIDE_PX, MAX_BYTES = 8, 17, 40, 4096


def main() -> None:
    """Write corpus/KIND/NUMBER.bin, a few hundred files of at most MAX_BYTES."""
    rng = np.random.default_rng(SEED)
    ramp = np.linspace(0, 255, SIDE_PX * SIDE_PX * 3).reshape(SIDE_PX, SIDE_PX, 3).astype(np.uint8)
    kinds = {"image": images(ramp, rng), "video": videos(ramp, rng), "zip": zips(rng), "form": forms(rng)}
    for kind, files in kinds.items():
        folder = CORPUS / kind
        folder.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(files):
            (folder / f"{number:03}.bin").write_bytes(data[:MAX_BYTES])


def images(rgb: NDArray[np.uint8], rng: np.random.Generator) -> Iterator[bytes]:
    """Valid, cut and changed images of every format, and false headers."""
    valid = [hostile.encode_image(rgb, name) for name in hostile.IMAGE_FORMATS]
    for options in ({"progressive": True}, {"optimize": True}):
        buffer = io.BytesIO()
        Image.fromarray(rgb).save(buffer, "JPEG", **options)
        valid.append(buffer.getvalue())
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "AVIF")
    valid.append(buffer.getvalue())
    yield from changed(valid, rng)
    yield from hostile.false_headers(valid[4], valid[3], valid[1]).values()
    scan = valid[6].rindex(b"\xff\xda")
    yield valid[6][:scan] + valid[6][scan:-2] * 120 + valid[6][-2:]
    yield from hostile.references().values()


def videos(rgb: NDArray[np.uint8], rng: np.random.Generator) -> Iterator[bytes]:
    """Valid, cut and changed videos of every container."""
    valid = [hostile.encode_clip(rgb, name, codec) for name, codec in hostile.VIDEO_FORMATS.items()]
    yield from changed([data for data in valid if len(data) <= 4 * MAX_BYTES], rng)


def zips(rng: np.random.Generator) -> Iterator[bytes]:
    """Valid, cut and changed archives."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train/real/ä.jpg", b"picture" * 20)
        archive.writestr("../outside.jpg", b"x")
    yield from changed([buffer.getvalue()] * 4, rng)
    at = buffer.getvalue().index(b"PK\x01\x02")
    yield buffer.getvalue()[: at + 6] + b"\xff\0" + buffer.getvalue()[at + 8 :]


def forms(rng: np.random.Generator) -> Iterator[bytes]:
    """Valid, cut and changed multipart bodies with boundary `b`."""
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    valid = [head + b"abc\r\n--b--\r\n", head + zlib.compress(bytes(99)) + struct.pack(">I", 7) + b"\r\n--b--\r\n"]
    yield from changed(valid * 2, rng)


def changed(valid: list[bytes], rng: np.random.Generator) -> Iterator[bytes]:
    """Each file, cut at random, and with bytes changed."""
    for data in valid:
        yield data
        yield data[: int(rng.integers(len(data)))]
        for copy in range(COPIES):
            yield hostile.fuzz(data[:MAX_BYTES], rng, 2 ** (copy % 6))


if __name__ == "__main__":
    main()
