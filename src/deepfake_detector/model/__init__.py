"""Crops -> logits: network, losses, calibration, export, and the sealed bundle that carries the model."""
