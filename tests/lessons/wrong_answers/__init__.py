"""Answers to exercises that look right and are wrong. Each one passed all laws once.

``@wrong("02.1", "...")`` stands on the answer; the text says what is wrong with it.
"""

import importlib
import pkgutil

from tests.lessons.wrong_answers.declare import ALIKE, WRONG

for module in sorted(module.name for module in pkgutil.iter_modules(__path__)):
    importlib.import_module(f"{__name__}.{module}")

__all__ = ["ALIKE", "WRONG"]
