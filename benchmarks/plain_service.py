"""What most people write: FastAPI, Keras' model in a global, decode, resize, `model.predict`; run by uvicorn.

`DEEPFAKE_BENCH_KERAS` names the model's file.
"""

from __future__ import annotations

import io
import os
from typing import cast

import keras
import numpy as np
from fastapi import FastAPI, Request
from PIL import Image
from starlette.datastructures import UploadFile

app = FastAPI()
MODEL = keras.models.load_model(os.environ["DEEPFAKE_BENCH_KERAS"], compile=False)
SIDE_PX = MODEL.input_shape[1]


@app.post("/predict")
async def predict(request: Request) -> dict[str, float]:
    upload = cast(UploadFile, (await request.form())["image"])
    picture = Image.open(io.BytesIO(await upload.read())).convert("RGB").resize((SIDE_PX, SIDE_PX))
    logit = float(MODEL.predict(np.asarray(picture)[None], verbose=0)[0])
    return {"p_fake": 1 / (1 + float(np.exp(-logit)))}
