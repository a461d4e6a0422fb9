"""Sealed bundle and pixels -> scores, faces, tracks and verdicts; what the command line, scan and the service share."""
