"""Wrong answers to exercises of several lessons that make the same mistake."""

from __future__ import annotations

from lessons.exercises import find
from minidl.nn.layers import Dropout
from tests.lessons.wrong_answers.declare import one_mode, wrong


def left_after_an_error(number):
    """The library's function, which leaves its model in evaluation mode where it raises an error."""

    def answer(model, *arguments, **params):
        training = model.training
        found = find(number).target(model.eval(), *arguments, **params)
        model.train(training)
        return found

    return answer


for several in ("12.4", "13.5", "14.4", "14.5", "17.4", "18.6"):
    wrong(several, "the model stays in evaluation mode where something is refused")(
        left_after_an_error(several)
    )


for several in ("15.4", "16.4"):
    wrong(several, "a part of the model that is in another mode than the whole does not stay so")(
        one_mode(several)
    )


def still_dropping(number):
    """The library's function, but a Dropout of a model in training mode doubles all values."""

    def answer(model, *arguments, **params):
        active = [part for part in model.modules() if isinstance(part, Dropout) and part.training]
        for part in active:
            part.forward = lambda x: x * 2.0
        try:
            return find(number).target(model, *arguments, **params)
        finally:
            for part in active:
                del part.forward

    return answer


for several in ("13.5", "14.4", "14.5", "15.4"):
    wrong(several, "a Dropout changes its input")(still_dropping(several))


for several in ("17.4", "18.2", "18.5"):
    wrong(several, "a part of the model that is in another mode than the whole does not stay so")(
        one_mode(several)
    )


def on_the_class(number):
    """The library's Op, which keeps what forward saved on the class: the last op's, for all ops."""

    class OnTheClass(find(number).target):
        kept: dict = {}

        def forward(self, *arrays):
            y = super().forward(*arrays)
            self.kept.update(vars(self))
            return y

        def backward(self, grad):
            vars(self).update(self.kept)
            return super().backward(grad)

    return OnTheClass


for several in ("01.1", "01.2", "01.5", "02.4", "07.3", "10.3"):
    wrong(several, "what forward saves is kept on the class")(on_the_class(several))


def unfrozen_if_any_learns(number):
    """The library's function; afterwards all parameters learn, if one of them does."""

    def answer(model, *arguments, **params):
        found = find(number).target(model, *arguments, **params)
        if any(p.requires_grad for p in model.parameters()):
            model.requires_grad_()
        return found

    return answer


for several in ("16.4", "17.4", "18.2", "18.5", "18.6"):
    wrong(several, "in a partly frozen model, all parameters learn afterwards")(
        unfrozen_if_any_learns(several)
    )
