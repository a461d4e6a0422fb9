"""Animations are told from images by their headers; those that libav does not read give frames as videos do."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepfake_detector.inference.detector import is_image
from deepfake_detector.media.animation import MAX_COUNTED, count_gif_frames, is_animation
from deepfake_detector.media.image import decode_image, decode_image_with_notes
from deepfake_detector.media.video import probe_video, read_frames, sample_frames

FORMATS = ["GIF", "PNG", "WEBP", "AVIF"]


def animation(name: str, frames: int = 5) -> bytes:
    """Frames of rising grey, 200 ms each, whose first is white; with a bar, so that no two are merged."""
    pages = [np.full((48, 64, 3), 255 if i == 0 else 30 * i, np.uint8) for i in range(frames)]
    for i, page in enumerate(pages):
        page[:4, : 4 + i] = (200, 0, 0)
    images = [Image.fromarray(page) for page in pages]
    buffer = io.BytesIO()
    options = {"lossless": True} if name == "WEBP" else {}
    images[0].save(buffer, name, save_all=frames > 1, append_images=images[1:], duration=200, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("name", FORMATS)
def test_more_than_one_frame_is_a_video(tmp_path: Path, name: str) -> None:
    moving, still = tmp_path / "moving", tmp_path / "still"
    moving.write_bytes(animation(name))
    still.write_bytes(animation(name, frames=1))
    assert not is_image(moving)
    assert is_image(still)


@pytest.mark.parametrize("name", FORMATS)
def test_an_animation_read_as_an_image_says_that_only_its_first_frame_was_looked_at(name: str) -> None:
    note = "only the first of 5 frames was looked at; as a video, frames of all of it are"
    assert decode_image_with_notes(animation(name)).notes == (note,)
    assert decode_image_with_notes(animation(name, frames=1)).notes == ()


@pytest.mark.parametrize("name", FORMATS)
def test_the_frames_of_an_animation_are_found_at_their_seconds(tmp_path: Path, name: str) -> None:
    path = tmp_path / "moving"
    path.write_bytes(animation(name))
    info = probe_video(path)
    assert info.duration_s == pytest.approx(1.0, abs=0.02)
    assert (info.width_px, info.height_px) == (64, 48)
    frames = list(read_frames(path, (0.1, 0.5, 0.9)))
    assert [frame.t_s for frame in frames] == pytest.approx([0.0, 0.4, 0.8])
    assert [int(frame.rgb[24, 32, 1]) for frame in frames] == pytest.approx([255, 60, 120], abs=4)
    assert len(list(sample_frames(path, info, 16))) == 5


def test_an_avif_animation_under_the_brand_of_stills_has_all_its_frames() -> None:
    data = animation("AVIF")
    assert is_animation(data[:8] + b"avif" + data[12:])
    note = decode_image_with_notes(data[:8] + b"avif" + data[12:]).notes[0]
    assert note.startswith("only the first of 5 frames")


@pytest.mark.parametrize("name", FORMATS)
def test_a_truncated_animation_is_no_crash(tmp_path: Path, name: str) -> None:
    from deepfake_detector.errors import BadInput

    data = animation(name)
    for kept in range(0, len(data), max(len(data) // 40, 1)):
        path = tmp_path / "cut"
        path.write_bytes(data[:kept])
        is_image(path)
        try:
            list(read_frames(path, (0.1, 0.9)))
        except BadInput:
            continue


def test_frames_of_a_gif_are_counted_up_to_a_bound() -> None:
    frame = b"\x2c" + bytes(8) + b"\0" + b"\x02\x01\x00\x00"
    assert count_gif_frames(b"GIF89a" + bytes(7) + 3 * frame + b";") == 3
    assert count_gif_frames(b"GIF89a" + bytes(7) + 3000 * frame) == MAX_COUNTED
    assert count_gif_frames(b"GIF89a") == 0


def test_the_first_frame_of_an_animation_is_the_image() -> None:
    assert decode_image(animation("PNG"))[24, 32].tolist() == [255, 255, 255]


def test_the_image_for_programs_that_do_not_animate_is_no_frame_of_an_animated_png(tmp_path: Path) -> None:
    blank, first, second = (Image.new("RGB", (64, 48), (level, 60, 60)) for level in (255, 40, 200))
    buffer = io.BytesIO()
    blank.save(buffer, "PNG", save_all=True, default_image=True, append_images=[first, second], duration=500)
    path = tmp_path / "hidden"
    path.write_bytes(buffer.getvalue())
    assert not is_image(path)
    info = probe_video(path)
    assert info.duration_s == pytest.approx(1.0)
    assert [int(frame.rgb[5, 5, 0]) for frame in read_frames(path, (0.1, 0.9))] == [40, 200]
    one = io.BytesIO()
    blank.save(one, "PNG", save_all=True, default_image=True, append_images=[first], duration=500)
    path.write_bytes(one.getvalue())
    assert not is_image(path)
    assert [int(frame.rgb[5, 5, 0]) for frame in read_frames(path, (0.1, 0.9))] == [40]
