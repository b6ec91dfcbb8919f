"""The lessons: scripts to read from top to bottom, and the exercises set on them (``python -m lessons``)."""
