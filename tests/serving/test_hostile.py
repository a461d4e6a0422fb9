"""A sample of the hostile files of hostile.py, sent to the whole application; `python hostile.py` sends them all."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.media.image import encode_png

EVERY = 5  # every fifth file is sent


@pytest.fixture(scope="module")
def hostile_module() -> Any:
    spec = importlib.util.spec_from_file_location("hostile", Path(__file__).with_name("hostile.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def resident_mib(pids: list[int]) -> Iterator[int]:
    for pid in pids:
        status = Path(f"/proc/{pid}/status").read_text()
        yield int(status.split("VmRSS:")[1].split()[0]) // 1024


def test_hostile_files_get_4xx_end_no_worker_and_leave_nothing_open(
    served: Any, hostile_module: Any, red_portrait: NDArray[np.uint8]
) -> None:
    files = [each for i, each in enumerate(hostile_module.hostile_files(red_portrait, fuzzed=1)) if i % EVERY == 0]
    before, open_files = served.dispatcher.pool.pids, sum(1 for _ in Path("/proc/self/fd").iterdir())
    requests = [("POST", f"/predict_{field}", {"files": {field: ("a", data)}}) for _, field, data in files]
    answers = [answer for i in range(0, len(requests), 4) for answer in served.request_many(requests[i : i + 4])]
    failures = {name: a.status_code for (name, _, _), a in zip(files, answers, strict=True) if a.status_code >= 500}
    assert (len(files) > 30, failures) == (True, {})
    assert {answer.status_code for answer in answers} <= {200, 413, 415, 422}
    assert all(set(a.json()["error"]) == {"code", "message", "hint"} for a in answers if a.status_code != 200)
    assert served.dispatcher.pool.pids == before  # no worker ended
    assert max(resident_mib(before)) < 1000
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) <= open_files + 2
    assert served.dispatcher.admission.in_use == 0
    assert served.request("POST", "/predict_image", files={"image": ("a", encode_png(red_portrait))}).json()["faces"]
