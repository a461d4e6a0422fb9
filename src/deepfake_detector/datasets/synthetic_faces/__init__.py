"""Random numbers -> the embedded data set: drawn portraits, half of them passed through a simulated camera."""
