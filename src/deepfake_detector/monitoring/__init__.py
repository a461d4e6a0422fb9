"""Prediction logs and the profile of a model -> what changed since it was evaluated."""
