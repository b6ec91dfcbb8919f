"""The book: lessons with their figures, studies, exercises and reference as one static site."""
