"""Random numbers -> the embedded data set: drawn portraits with the traces of a camera or of a generator."""
