"""The measurements over seeds that lessons quote: ``python -m lessons study``."""
