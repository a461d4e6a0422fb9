"""One thin file per DVC stage: read settings, call the library, write one report."""
