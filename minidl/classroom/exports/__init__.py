"""Exports: the files that a teacher uploads to a grading service, and the code that runs at the service."""
