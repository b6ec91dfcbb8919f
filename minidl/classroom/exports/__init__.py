"""Exports: what a teacher uploads to the service that the course uses, and what runs there."""
