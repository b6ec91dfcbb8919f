"""The classroom: exercises, the laws that check them, stubs to fill in, and the lessons' command line."""
