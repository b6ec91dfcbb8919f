"""``python -m lessons``: the lessons and what one can do with them. ``-h`` says more."""

import sys
from pathlib import Path

from lessons.exercises import all_exercises
from minidl.classroom.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], folder=Path(__file__).parent, find_exercises=all_exercises))
