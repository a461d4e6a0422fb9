"""Encoded bytes -> pixels: the only pixel code, for training and for serving."""
