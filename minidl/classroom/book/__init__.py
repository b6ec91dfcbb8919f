"""The book: one static site with the lessons, their figures, the studies, the exercises and the reference."""
