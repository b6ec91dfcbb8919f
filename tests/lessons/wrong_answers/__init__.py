"""Answers to exercises that look right and are wrong. Each one passed all laws once.

``@wrong("01.5", "a sum of no products in float64")
class WideNothing(find("01.5").target):
    def forward(self, a, b):
        y = super().forward(a, b)
        return y if a.shape[-1] else np.zeros(np.shape(y))


@wrong("01.6", "a name in capitals is taken")
def any_case(inputs, steps):
    return find("01.6").target(inputs, [(name.lower(), *rest) for name, *rest in steps])


@wrong("02.1", "...")`` stands on the answer; the text says what is wrong with it.
"""

import importlib
import pkgutil

from tests.lessons.wrong_answers.declare import ALIKE, WRONG

for module in sorted(module.name for module in pkgutil.iter_modules(__path__)):
    importlib.import_module(f"{__name__}.{module}")

__all__ = ["ALIKE", "WRONG"]
