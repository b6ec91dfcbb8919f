"""``python -m lessons``: the lessons, and what they offer. ``-h`` says more."""

import sys
from pathlib import Path

from minidl.classroom.cli import main
from minidl.classroom.course import Course

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Course(Path(__file__).parent)))
