"""Answers to exercises that a learner writes from the stub alone: other words than the library's, and right.

``@right("02.1")`` stands on the answer.
"""

import importlib
import pkgutil

from tests.lessons.right_answers.declare import RIGHT

for module in sorted(module.name for module in pkgutil.iter_modules(__path__)):
    importlib.import_module(f"{__name__}.{module}")

__all__ = ["RIGHT"]
