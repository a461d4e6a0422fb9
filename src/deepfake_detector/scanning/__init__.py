"""A folder of any size -> one table with a row per image and video."""
