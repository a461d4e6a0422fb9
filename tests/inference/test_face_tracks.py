from __future__ import annotations

from dataclasses import replace

from deepfake_detector.inference.face_tracks import Sighting, closeness, follow


def seen(frame: int, x: float, side: float = 100.0, y: float = 50.0) -> Sighting:
    return Sighting(frame, frame * 0.5, (x, y, side, side), 0.5)


def test_the_same_face_in_each_frame_is_one_track() -> None:
    assert follow([seen(0, 10), seen(1, 14), seen(2, 20)]) == [[0, 1, 2]]


def test_two_faces_side_by_side_stay_apart_even_when_listed_in_another_order() -> None:
    sightings = [seen(0, 0), seen(0, 300), seen(1, 305), seen(1, 5)]
    assert follow(sightings) == [[0, 3], [1, 2]]


def test_the_nearest_pair_is_joined_first() -> None:
    # Both old faces are near the new one at 60; the one at 50 is nearer.
    assert follow([seen(0, 0), seen(0, 50), seen(1, 60)]) == [[0], [1, 2]]


def test_a_face_missed_in_one_frame_goes_on_and_after_two_starts_anew() -> None:
    assert follow([seen(0, 0), seen(2, 0)]) == [[0, 1]]
    assert follow([seen(0, 0), seen(3, 0)]) == [[0], [1]]


def test_a_jump_or_another_size_is_another_face() -> None:
    assert follow([seen(0, 0), seen(1, 101)]) == [[0], [1]]
    assert follow([seen(0, 0, 100), seen(1, 0, 210)]) == [[0], [1]]


def test_every_sighting_is_in_exactly_one_track_and_none_has_two_of_a_frame() -> None:
    sightings = [seen(f, 37 * ((f * 7 + i * 11) % 5)) for f in range(6) for i in range(3)]
    tracks = follow(sightings)
    assert sorted(place for track in tracks for place in track) == list(range(len(sightings)))
    assert all(len({sightings[p].frame for p in track}) == len(track) for track in tracks)


def test_nothing_seen_nothing_followed() -> None:
    assert follow([]) == []


def test_closeness_is_one_for_itself_symmetric_and_nought_for_empty_boxes() -> None:
    a, b = (0.0, 0.0, 100.0, 100.0), (30.0, 40.0, 100.0, 100.0)
    assert closeness(a, a) == 1.0
    assert closeness(a, b) == closeness(b, a) == 0.5
    assert closeness(a, (0.0, 0.0, 0.0, 10.0)) == 0.0


def test_nobody_is_followed_across_a_cut() -> None:
    before, after = seen(0, 10), seen(1, 10)
    assert follow([before, after]) == [[0, 1]]
    assert follow([before, replace(after, shot=1)]) == [[0], [1]]
