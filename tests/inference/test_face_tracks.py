from __future__ import annotations

from dataclasses import replace

from deepfake_detector.inference.face_tracks import Detection, proximity, track_faces


def detection(frame: int, x: float, side: float = 100.0, y: float = 50.0) -> Detection:
    return Detection(frame, frame * 0.5, (x, y, side, side), 0.5)


def test_a_face_in_each_frame_is_one_track() -> None:
    assert track_faces([detection(0, 10), detection(1, 14), detection(2, 20)]) == [[0, 1, 2]]


def test_two_faces_side_by_side_are_two_tracks_in_any_order() -> None:
    detections = [detection(0, 0), detection(0, 300), detection(1, 305), detection(1, 5)]
    assert track_faces(detections) == [[0, 3], [1, 2]]


def test_the_nearest_pair_is_joined_first() -> None:
    # Both earlier faces are near the one at 60; the one at 50 is nearer.
    assert track_faces([detection(0, 0), detection(0, 50), detection(1, 60)]) == [[0], [1, 2]]


def test_a_track_survives_one_missed_frame_but_not_two() -> None:
    assert track_faces([detection(0, 0), detection(2, 0)]) == [[0, 1]]
    assert track_faces([detection(0, 0), detection(3, 0)]) == [[0], [1]]


def test_a_distant_box_or_another_size_is_another_face() -> None:
    assert track_faces([detection(0, 0), detection(1, 101)]) == [[0], [1]]
    assert track_faces([detection(0, 0, 100), detection(1, 0, 210)]) == [[0], [1]]


def test_every_detection_is_in_one_track_and_no_track_has_two_of_a_frame() -> None:
    detections = [detection(f, 37 * ((f * 7 + i * 11) % 5)) for f in range(6) for i in range(3)]
    tracks = track_faces(detections)
    assert sorted(index for track in tracks for index in track) == list(range(len(detections)))
    assert all(len({detections[index].frame for index in track}) == len(track) for track in tracks)


def test_no_detections_have_no_tracks() -> None:
    assert track_faces([]) == []


def test_proximity_is_1_for_itself_symmetric_and_0_for_an_empty_box() -> None:
    a, b = (0.0, 0.0, 100.0, 100.0), (30.0, 40.0, 100.0, 100.0)
    assert proximity(a, a) == 1.0
    assert proximity(a, b) == proximity(b, a) == 0.5
    assert proximity(a, (0.0, 0.0, 0.0, 10.0)) == 0.0


def test_a_cut_ends_a_track() -> None:
    before, after = detection(0, 10), detection(1, 10)
    assert track_faces([before, after]) == [[0, 1]]
    assert track_faces([before, replace(after, shot=1)]) == [[0], [1]]
