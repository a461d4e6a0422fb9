"""Stage train: shards -> trained network; also hyperparameter search and ablations."""
