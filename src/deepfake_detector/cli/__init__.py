"""Words on the command line -> library calls; one module per command, heavy imports inside the functions."""
