"""Trainings -> MLflow runs: parameters, metrics and lineage tags, in a SQLite store or on a server."""
