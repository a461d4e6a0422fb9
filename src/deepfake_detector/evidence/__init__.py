"""Probabilities -> numbers a person can trust."""
