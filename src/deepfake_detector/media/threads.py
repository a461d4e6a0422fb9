"""A process -> the same process with OpenCV, and so the face finder, confined to one thread."""

import cv2


def use_one_thread() -> None:
    """For worker processes of which there is one per core already: their threads would fight for the cores."""
    cv2.setNumThreads(1)
