"""Trainings -> MLflow runs: the store, parameters, metrics and lineage."""
