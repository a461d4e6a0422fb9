"""deepfake-detector: a picture in, a verdict with reasons out; a data set in, a registered model out."""
