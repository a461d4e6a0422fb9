"""Archives -> checked tensors."""
