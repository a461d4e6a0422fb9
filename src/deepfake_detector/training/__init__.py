"""Stage train: shards -> trained network; also search for settings and ablation."""
