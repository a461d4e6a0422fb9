"""Encoded images and videos -> RGB pixels -> faces -> aligned crops, and their corruptions; the only pixel code."""
