"""Pixels -> verdict."""
