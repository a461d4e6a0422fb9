"""Side-by-side benchmarks: each row is a ratio against another way of doing the same work, in the same run."""
