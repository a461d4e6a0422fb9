"""Stage validate: archives -> manifest, expectations, leak probes, near-duplicates."""
