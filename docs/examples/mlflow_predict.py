"""Predict files with the champion of MLflow's registry: python docs/examples/mlflow_predict.py FILE...

The registry is that of `make mlflow` (export MLFLOW_TRACKING_URI=http://127.0.0.1:5000) or, without a server, the file
(export MLFLOW_TRACKING_URI=deepfake-sqlite:///mlflow.db).
"""

import sys

import mlflow.pyfunc
import pandas as pd

model = mlflow.pyfunc.load_model("models:/deepfake-detector@champion")
table = pd.DataFrame({"path": sys.argv[1:]})
answers = model.predict(table, params={"prior": 0.01})
print(answers[["verdict", "p_fake", "posterior", "kind"]].to_string())
