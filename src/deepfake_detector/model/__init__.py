"""Tensors -> probabilities, and the bundle that carries them."""
