"""HTTP service: uploads -> verdicts as JSON, and the page at /ui."""
