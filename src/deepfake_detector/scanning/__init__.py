"""A folder of any size -> one file with a row per image and video."""
