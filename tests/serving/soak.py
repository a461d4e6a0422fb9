"""A bundle and minutes -> the growth of a service's memory under load: python -m tests.serving.soak pretrained 20

Valid and hostile files from eight clients. Exit code 1 if an answer is a 5xx without Retry-After, or if the memory of
all its processes grows by more than MAX_GROWTH_MIB_H in the second half.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from itertools import cycle
from pathlib import Path

import httpx
import numpy as np
import psutil

from deepfake_detector.datasets.synthetic_faces.sample import draw_sample
from deepfake_detector.media.image import decode_image
from tests.serving import hostile

CLIENTS, SAMPLE_S, WINDOW, MAX_GROWTH_MIB_H, MIB = 8, 2.0, 30, 120.0, 2**20


def main() -> None:
    """Start the service, load it, and judge."""
    bundle, minutes = sys.argv[1], float(sys.argv[2])
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address, number = f"http://127.0.0.1:{listening.getsockname()[1]}", listening.fileno()
        command = [sys.executable, str(Path(__file__).with_name("serve_bento.py")), bundle, str(number)]
        service = subprocess.Popen(command, pass_fds=[number], start_new_session=True)
    try:
        wait_until_ready(address)
        statuses, memory = load(address, service.pid, 60 * minutes)
    finally:
        os.killpg(service.pid, signal.SIGKILL)
        service.wait()
    lows = [min(mib for _, mib in memory[i : i + WINDOW]) for i in range(0, len(memory), WINDOW)]
    print("lowest memory per minute, MiB:", *(f"{low:.0f}" for low in lows))
    growth = slope_mib_h(memory[len(memory) // 2 :])
    print(f"{sum(statuses.values()):,} answers: {dict(sorted(statuses.items()))}")
    print(f"memory {memory[-1][1]:.0f} MiB, growth {growth:+.1f} MiB per hour in the second half")
    wrong = [status for status in statuses if status >= 500]
    raise SystemExit(bool(wrong) or growth > MAX_GROWTH_MIB_H)


def wait_until_ready(address: str) -> None:
    """Wait up to two minutes."""
    end_s = time.monotonic() + 120
    while time.monotonic() < end_s:
        try:
            if httpx.get(f"{address}/readyz", timeout=30).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.5)
    raise SystemExit("the service did not start")


def load(address: str, pid: int, duration_s: float) -> tuple[Counter[int], list[tuple[float, float]]]:
    """Send files from CLIENTS clients; return counts of statuses, and samples of seconds and MiB.

    503 and 507 with Retry-After count as 429.
    """
    portrait = decode_image(draw_sample(3, "test", "real", 0))
    files = cycle(hostile.hostile_files(portrait, fuzzed=3))
    lock, statuses, end_s = threading.Lock(), Counter[int](), time.monotonic() + duration_s

    def client() -> None:
        with httpx.Client(base_url=address, timeout=180) as connection:
            while time.monotonic() < end_s:
                with lock:
                    _, field, data = next(files)
                answer = connection.post(f"/predict_{field}", files={field: ("a", data)})
                busy = answer.status_code in (503, 507) and "retry-after" in answer.headers
                with lock:
                    statuses[429 if busy else answer.status_code] += 1

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    memory = []
    while any(thread.is_alive() for thread in threads):
        memory.append((time.monotonic(), resident_mib(pid)))
        time.sleep(SAMPLE_S)
    return statuses, memory


def resident_mib(pid: int) -> float:
    """Resident memory of a process and all below it; shared pages count in each."""
    total = 0
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / MIB


def slope_mib_h(samples: list[tuple[float, float]]) -> float:
    """Slope of a line through the lowest sample of each WINDOW, seconds and MiB: large images come and go."""
    windows = [samples[i : i + WINDOW] for i in range(0, len(samples) - WINDOW + 1, WINDOW)]
    seconds, mib = np.array([min(window, key=lambda sample: sample[1]) for window in windows]).T
    return float(np.polyfit(seconds / 3600, mib, 1)[0])


if __name__ == "__main__":
    main()
