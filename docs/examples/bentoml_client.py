"""BentoML's client and our service: python docs/examples/bentoml_client.py http://127.0.0.1:3000 IMAGE VIDEO."""

import os
import sys
from pathlib import Path

import bentoml

address, image, video = sys.argv[1:]
with bentoml.SyncHTTPClient(address, token=os.environ.get("DEEPFAKE_SERVE_TOKEN"), timeout=100) as client:
    answer = client.predict_image(image=Path(image), prior=0.001)
    print("image:", answer["verdict"], answer["p_fake"], answer["posterior"])

    answer = client.predict_video(video=Path(video))
    print("video:", answer["verdict"], answer["p_fake"])

    for answer in client.predict_images(images=[Path(image), Path(video)])["answers"]:
        print("batch:", answer["verdict"] if "verdict" in answer else answer["error"]["message"])
