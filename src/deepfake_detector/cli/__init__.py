"""Command-line arguments -> library calls; one module per command, heavy imports inside the functions."""
