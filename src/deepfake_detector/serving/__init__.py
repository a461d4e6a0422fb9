"""HTTP -> verdict."""
