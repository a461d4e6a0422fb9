"""Stage download: sources -> one verified archive each."""
