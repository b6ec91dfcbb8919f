"""Module: a function with parameters. It can contain other modules."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from minidl.engine.checks import check_flag, check_function, check_instance, require, shown
from minidl.engine.instead import MODULE, missing
from minidl.engine.tensor import Tensor
from minidl.nn.inputs import module_inputs
from minidl.nn.state import LoadedKeys, problems_of

Self = TypeVar("Self", bound="Module")


class Parameter(Tensor):
    """A trainable leaf with a copy of ``data``. Its ``name`` is its dotted path in the model.

    ``mask``, bools of its shape, is False where an optimizer's step must keep 0 (pruning sets it).

    >>> from minidl import nn
    >>> weight = nn.Parameter([1.0, 2.0])
    >>> (weight * weight).sum().backward()
    >>> print(weight.grad)
    [2. 4.]
    """

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        if isinstance(data, Tensor):
            require(data.op is None, "a Parameter is a leaf: of a computed tensor t give it the array t.data")
            data = data.data
        super().__init__(np.array(data) if isinstance(data, np.ndarray) else data)
        self.requires_grad_(requires_grad)

    def __deepcopy__(self, memo: dict) -> Parameter:
        copy = super().__deepcopy__(memo)
        copy.mask = None if self.mask is None else self.mask.copy()
        return copy


class Hook:
    """The result of ``register_forward_hook``: ``remove()`` removes the hook from its module.

    >>> from minidl import nn
    >>> layer = nn.ReLU()
    >>> hook = layer.register_forward_hook(lambda module, inputs, output: print(output.data))
    >>> y = layer([-1, 2])
    [0. 2.]
    >>> hook.remove()
    """

    def __init__(self, module: Module, function: Callable[[Module, tuple, Any], Any]) -> None:
        self.module, self.function = module, function

    def remove(self) -> None:
        self.module._hooks = tuple(hook for hook in self.module._hooks if hook is not self)


class Module:
    """A function with state: assign Parameters and Modules to attributes, and write ``forward``.

    Parameters and children are found in ``vars(module)``, so a subclass needs no ``super().__init__()``.
    ``training`` is the mode of layers such as BatchNorm and Dropout. Arrays that belong to the state but are
    not trained are registered as buffers.

    >>> from minidl import nn
    >>> class Scale(nn.Module):
    ...     def __init__(self):
    ...         self.factor = nn.Parameter([3.0])
    ...     def forward(self, x):
    ...         return self.factor * x
    >>> Scale()(2.0)
    Tensor([6.], float32, from Mul, grad)
    """

    training = True
    _buffer_names: tuple[str, ...] = ()
    _hooks: tuple[Hook, ...] = ()

    def forward(self, *inputs: Any) -> Any:  # in most modules a Tensor
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def __call__(self, *inputs: Any) -> Any:
        """Run ``forward``, then the hooks. For ``forward``, an array of floats becomes a Tensor."""
        try:
            inputs = module_inputs(inputs, self)
            output = self.forward(*inputs)
        except Exception as error:
            _name_layer(error, self)
            raise
        for hook in self._hooks:
            replacement = hook.function(self, inputs, output)
            output = output if replacement is None else replacement
        return output

    def register_forward_hook(self, hook: Callable[[Module, tuple, Any], Any]) -> Hook:
        """Call ``hook(module, inputs, output)`` after each forward. A result other than None replaces the
        output. ``inputs`` is a tuple."""
        handle = Hook(self, check_function("hook", hook, "(module, inputs, output)"))
        self._hooks = (*self._hooks, handle)
        return handle

    # ---- what it is made of

    def __setattr__(self, name: str, value: Any) -> None:
        old = vars(self).get(name)
        if isinstance(value, Parameter):
            value.name = old.name if isinstance(old, Parameter) else name
        elif isinstance(value, Module):
            for path, parameter in value.named_parameters():
                # Keep the longest path: the outermost container knows it, a slice made later does not.
                parameter.name = max(parameter.name or "", f"{name}.{path}", key=len)
        elif isinstance(old, Parameter) and value is not None:
            kind, mend = type(value).__name__, f"write module.{name}.data = array, or assign a new Parameter"
            raise TypeError(f"{name} is a Parameter and cannot become {kind}: {mend}")
        elif isinstance(value, list | tuple | dict):
            parts = value.values() if isinstance(value, dict) else value
            if any(isinstance(part, Module | Parameter) for part in parts):
                kind, mend = type(value).__name__, "use Sequential or ModuleList"
                raise TypeError(f"parameters() would not find the modules in the {kind} {name}: {mend}")
        super().__setattr__(name, value)

    def register_buffer(self, name: str, array: np.ndarray) -> None:
        """Keep ``array`` as the attribute ``name`` and as a part of ``state_dict``; it is not trained."""
        self._adopt(f"buffer {name}", name, array, np.ndarray)
        if name not in self._buffer_names:
            self._buffer_names = (*self._buffer_names, name)

    def add_module(self, name: str, module: Module) -> None:
        """Add ``module`` as a child. Its name may be any text without dots, such as "0"."""
        self._adopt(f"child {name!r}", name, module, Module)

    def _adopt(self, what: str, name: str, value: Any, kind: type) -> None:
        """Set the attribute ``name``. It must be a text without dots that the class does not use."""
        fits = isinstance(name, str) and name and "." not in name
        require(fits, f"name must be a text without dots, got {shown(name)}")
        own = f"{type(self).__name__} already has an attribute of that name"
        require(not hasattr(type(self), name), f"the name {name!r} is taken: {own}")
        check_instance(what, value, kind)
        setattr(self, name, value)

    def named_children(self) -> list[tuple[str, Module]]:
        return [(name, child) for name, child in vars(self).items() if isinstance(child, Module)]

    def children(self) -> list[Module]:
        return [child for child in vars(self).values() if isinstance(child, Module)]

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """This module, with path "", and all modules inside it.

        Each comes once, a parent before its children.
        """
        seen: set[int] = set()
        stack = [("", self)]
        while stack:
            path, module = stack.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield path, module
            stack += [(dotted(path, name), child) for name, child in module.named_children()][::-1]

    def modules(self) -> Iterator[Module]:
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """All parameters with their dotted paths. A parameter that is used in several places comes once."""
        seen: set[int] = set()
        for path, module in self.named_modules():
            for name, value in list(vars(module).items()):
                if isinstance(value, Parameter) and id(value) not in seen:
                    seen.add(id(value))
                    yield dotted(path, name), value

    def parameters(self) -> Iterator[Parameter]:
        return (parameter for _, parameter in self.named_parameters())

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """Set ``requires_grad`` of every parameter. BatchNorm statistics still change: see ``freeze``."""
        check_flag("requires_grad", requires_grad)
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def named_buffers(self) -> Iterator[tuple[str, np.ndarray]]:
        for path, module in self.named_modules():
            for name in module._buffer_names:
                yield dotted(path, name), getattr(module, name)

    def layer(self, path: str) -> Module:
        """The module at a dotted path such as "features.3".

        A wrong path raises ValueError with similar paths.
        """
        fits = isinstance(path, str)
        wanted = "a layer is named by its dotted path, such as 'block1.conv'"
        require(fits, f"{wanted}, got {shown(path)}", TypeError)
        module: Any = self
        for name in path.split(".") if path else ():
            module = vars(module).get(name)
            if not isinstance(module, Module):
                paths = [known for known, _ in self.named_modules() if known]
                near = difflib.get_close_matches(path, paths, n=3, cutoff=0.4)
                hint = (
                    f"nearest: {', '.join(near)}" if near else f"there are: {', '.join(paths[:20]) or 'none'}"
                )
                raise ValueError(f"no layer {shown(path)} in this {type(self).__name__}; {hint}")
        return module

    def set_submodule(self, path: str, module: Module) -> None:
        """Replace the module at a dotted path such as "features.3" by ``module``."""
        self.layer(path)  # for a wrong path, this raises an error with similar paths
        parent, _, name = path.rpartition(".")
        self.layer(parent).add_module(name, module)

    def apply(self: Self, function: Callable[[Module], Any]) -> Self:
        """Call the function with every module inside, children before their parents, then with this one."""
        check_function("function", function, "(module)")
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    # ---- mode and gradients

    def train(self: Self, mode: bool = True) -> Self:
        """Set training mode here and in all modules inside; ``mode=False`` sets evaluation mode."""
        check_flag("mode", mode)
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: Self) -> Self:
        return self.train(False)

    def zero_grad(self) -> None:
        for parameter in self.parameters():
            parameter.grad = None

    # ---- state

    def _state(self, prefix: str = "") -> Iterator[tuple[str, Module, str]]:
        """(key, module, attribute) of parameters and buffers in PyTorch's order.

        Shared ones come at each path.
        """
        parameters = [name for name, value in vars(self).items() if isinstance(value, Parameter)]
        for name in [*parameters, *self._buffer_names]:
            yield prefix + name, self, name
        for name, child in self.named_children():
            yield from child._state(f"{prefix}{name}.")

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of all parameters and buffers under their dotted paths: PyTorch's keys and layouts."""
        return {key: np.array(getattr(module, name)) for key, module, name in self._state()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> LoadedKeys:
        """Copy the values of ``state`` into the model: arrays with the keys and shapes of ``state_dict()``.

        CPU tensors of PyTorch are accepted, too. Where a parameter has a mask, 0 stays. If something does not
        fit, one ValueError lists all problems, and nothing is loaded. With ``strict=False``, missing and
        unexpected keys are only named in the result. ``num_batches_tracked`` may be missing, as in old files.
        """
        problems = self.state_problems(state, strict)
        require(not problems, "\n  ".join(["the state does not fit the model:", *problems]))
        missing, unexpected = [], dict.fromkeys(state)
        for key, module, name in self._state():
            unexpected.pop(key, None)
            if key not in state:
                missing.append(key)
                continue
            old = getattr(module, name)
            new = np.asarray(state[key]).astype(old.dtype)  # a copy
            if isinstance(old, Parameter):
                old.data = new if old.mask is None else np.where(old.mask, new, 0)
            else:
                setattr(module, name, new)
        return LoadedKeys(missing, list(unexpected))

    def state_problems(self, state: Mapping[str, Any], strict: bool = True) -> list[str]:
        """The reasons why ``state`` cannot be loaded, one line each; empty if it can."""
        expected = {key: getattr(module, name) for key, module, name in self._state()}
        return problems_of(state, expected, check_flag("strict", strict))

    # ---- printing

    def extra_repr(self) -> str:
        """The settings in the layer's line of the printed model."""
        return ""

    def __repr__(self) -> str:
        lines = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self.named_children()]
        if not lines:
            return f"{type(self).__name__}({self.extra_repr()})"
        return f"{type(self).__name__}({self.extra_repr()}\n  " + "\n  ".join(lines) + "\n)"

    if not TYPE_CHECKING:  # to a type checker it would mean that a Module has attributes of every name

        def __getattr__(self, name: str) -> Any:
            raise missing(f"{type(self).__name__!r} object", name, MODULE)


def _name_layer(error: Exception, module: Module) -> None:
    """Put the path of the layer in front of the error's message.

    Each module around the layer catches the error and raises it again. Each of them knows a longer path.
    """
    if len(error.args) != 1 or not isinstance(error.args[0], str):
        return
    layer, message = vars(error).setdefault("_raised_in", (module, error.args[0]))
    path = next((path for path, part in module.named_modules() if part is layer), "")
    if path:
        error.args = (f"layer {path!r}: {message}",)


@contextmanager
def same_mode_after(model: Module) -> Iterator[None]:
    """The block may change the mode of the model. After the block, each module has its old mode again."""
    check_instance("model", model, Module)
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def eval_mode(model: Module) -> Iterator[None]:
    """In this block, ``model`` is in evaluation mode. After the block, each module has its old mode again.

    >>> from minidl import nn
    >>> model = nn.Dropout(0.5)
    >>> with nn.eval_mode(model):
    ...     print(model([1, 2]).data)
    [1. 2.]
    """
    with same_mode_after(model):
        model.eval()
        yield


def dotted(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
