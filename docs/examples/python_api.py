"""Ask about a picture and a video from Python; needs `pip install 'deepfake-detector[video]'`."""

import sys

from deepfake_detector import Detector

picture, clip = sys.argv[1:]
detector = Detector.load()  # the model that `deepfake about` describes; loading takes seconds, so keep it
answer = detector.image(picture, prior=0.01)  # a file's name, or its content as bytes
print(answer.verdict, answer.p_fake, "; ".join(answer.reasons))
if answer.posterior is not None:
    print(f"where 1 % are fake: {answer.posterior.p_fake:.3f}")
for face in detector.video(clip).faces[:3]:
    print(f"{face.t_s:.1f} s: {face.p_fake}")
