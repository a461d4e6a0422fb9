"""From a cold start to the first answer: `deepfake predict` against a script that imports TensorFlow."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.baselines import keras_network
from benchmarks.material import Material
from benchmarks.timing import Comparison, Variant, compare
from deepfake_detector.errors import ToolFailed

ROUNDS, TIMEOUT_S = 3, 400  # TensorFlow alone takes minutes on a machine that is busy enough
FIRST_ANSWER = 5.0  # goal of issue 7
SCRIPT = """
import sys
import numpy as np, keras
from PIL import Image
model = keras.models.load_model(sys.argv[1], compile=False)
picture = Image.open(sys.argv[2]).convert("RGB").resize(model.input_shape[1:3])
print(float(model.predict(np.asarray(picture)[None], verbose=0)[0]))
"""


def start_rows(material: Material) -> Iterator[Comparison]:
    """The row."""
    picture, model = material.scratch / "picture.jpg", material.scratch / "model.keras"
    picture.write_bytes(material.pictures(1)[0])
    keras_network(material.bundle).save(model)
    pretrained = str(material.workspace.pretrained)
    ours = Variant("deepfake predict", running(deepfake("predict", str(picture), "--model", pretrained)))
    other = Variant("script with TensorFlow", running((sys.executable, "-c", SCRIPT, str(model), str(picture))))
    rounds = material.some(ROUNDS)
    yield from compare("cold start to first answer", ours, [other], "start", rounds, (FIRST_ANSWER,))


def running(
    command: Sequence[str],
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Callable[[], int]:
    """A command as work: one start each time.

    Args:
        command: what to run.
        folder: where; here by default.
        environment: all of it; this process' own by default.
        timeout_s: after so long it is killed.

    Raises:
        ToolFailed: when it is run and fails.
    """

    def work() -> int:
        done = subprocess.run(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout_s, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise ToolFailed(f"{' '.join(command[:4])} ... ended with {done.returncode}", done.stdout[-2000:])
        return 1

    return work


def deepfake(*arguments: str) -> tuple[str, ...]:
    """Our command, from the code at hand whether it is installed or not."""
    return (sys.executable, "-c", "from deepfake_detector.cli.app import main; main()", *arguments)
