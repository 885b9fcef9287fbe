"""Equations that a user writes: called with namespaces, checked once, their parameter names found by tracing.

A model function sees its compartments and parameters by name (x.central, p.CL). A name that does not exist is
an error with the closest one that does, at the time the structure is put together.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any, NoReturn, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.models.structure import Input, plain_inputs

K = TypeVar("K")
V = TypeVar("V")
Rate = str | float | Callable[..., Any]
"""Of the parameters: a name "ka", a quotient "CL/V1", a number, or a function p -> value."""
Output = str | Callable[..., Any]
"""A compartment "effect", a quotient "central/V1", or a function (p, x) or (p, x, t) -> value."""


class Frozen(dict[K, V]):
    """A mapping that can be hashed, so that a structure can be a static argument; equal in order too."""

    def __hash__(self) -> int:  # type: ignore[override] # dict says it has none
        return hash(tuple(self.items()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Frozen) and tuple(self.items()) == tuple(other.items())

    def __ne__(self, other: object) -> bool:
        return not self == other

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("this mapping is part of a model and cannot be changed")

    __setitem__ = __delitem__ = __ior__ = update = pop = popitem = clear = setdefault = _refuse


class UnknownNameError(ModelError, AttributeError):
    """A model function asks for a parameter or compartment that is not there."""


class Named(SimpleNamespace):
    """Values by name; a wrong name raises UnknownNameError with the closest right one."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise UnknownNameError(f"found {name!r} in a model function; {expected(name, vars(self))}")


class _Recording(SimpleNamespace):
    """Any name is a parameter of value 1; which ones were asked for is kept."""

    def __init__(self, asked: dict[str, None], optional: tuple[str, ...]) -> None:
        super().__init__(_asked=asked, _optional=optional)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in self._optional:
            raise AttributeError(name)
        self._asked[name] = None
        return jnp.ones(())


def expected(name: str, known: Iterable[str]) -> str:
    """`expected one of ...`, with the closest name first in mind."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return f"expected one of {', '.join(names) or 'none'}{hint}"


def quotient(text: str) -> tuple[str, str]:
    """Numerator and denominator of "CL/V1"; the denominator is "" where there is none."""
    above, _, below = (part.strip() for part in text.partition("/"))
    if not above.isidentifier() or (below and not below.isidentifier()) or ("/" in text and not below):
        raise ModelError(
            f"found {text!r}; expected a name, a quotient of two names as 'CL/V1', or a function"
        )
    return above, below


def rate_value(rate: Rate, p: SimpleNamespace) -> Any:
    """The value of a rate constant or an initial amount."""
    if callable(rate):
        return rate(p)
    if isinstance(rate, str):
        above, below = quotient(rate)
        return getattr(p, above) / getattr(p, below) if below else getattr(p, above)
    return rate


def output_value(output: Output, p: SimpleNamespace, x: SimpleNamespace, t: Any) -> Any:
    """The value of an output."""
    if callable(output):
        return output(p, x, t) if _takes(output) > 2 else output(p, x)
    above, below = quotient(output)
    return getattr(x, above) / getattr(p, below) if below else getattr(x, above)


def _takes(function: Callable[..., Any]) -> int:
    return sum(
        parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        and parameter.default is parameter.empty
        for parameter in inspect.signature(function).parameters.values()
    )


def vector(values: Any, names: tuple[str, ...], what: str, dtype: Any) -> Float[Array, " n"]:
    """The values by name (mapping or namespace), as an array in the order of `names`."""
    given: Mapping[str, Any] = values if isinstance(values, Mapping) else vars(values)
    for name in given:
        if name not in names:
            raise ModelError(f"found {what} of {name!r}; {expected(name, names)}")
    missing = [name for name in names if name not in given]
    if missing:
        raise ModelError(f"found no {what} of {', '.join(missing)}; expected each of {', '.join(names)}")
    arrays = [jnp.asarray(given[name], dtype) for name in names]
    for name, array in zip(names, arrays, strict=True):
        if array.shape:
            raise ModelError(f"found {what} of {name} with shape {array.shape}; expected a scalar")
    return jnp.stack(arrays)


def check_names(compartments: tuple[str, ...], chosen: Iterable[str], what: str) -> None:
    """Raise ModelError unless compartments are proper names and each chosen one is among them."""
    if not compartments or len(set(compartments)) != len(compartments):
        raise ModelError(f"found compartments {', '.join(compartments)}; expected at least one, each once")
    for name in compartments:
        if not name.isidentifier():
            raise ModelError(f"found compartment {name!r}; expected a name that Python can write")
    for name in chosen:
        if name not in compartments:
            raise ModelError(f"found {what} {name!r}; {expected(name, compartments)}")


def parameter_names(
    evaluate: Callable[[SimpleNamespace], Any],
    required: tuple[str, ...] | None,
    optional: tuple[str, ...] = (),
) -> tuple[str, ...]:
    """The parameters that `evaluate(p)` asks for, in that order; `required` where given, after a check.

    `evaluate` runs once with every parameter 1 and once with abstract values, so that what cannot be
    compiled is refused here. Raises ModelError.
    """
    asked: dict[str, None] = {}
    try:
        if required is None:
            evaluate(_Recording(asked, optional))
        names = tuple(asked) if required is None else required
        number = jnp.zeros((), jnp.float32)
        jax.eval_shape(lambda values: evaluate(Named(**values)), dict.fromkeys(names, number))
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError) as error:
        raise ModelError(
            f"found a model function that needs the number itself: {str(error).splitlines()[0]}",
            remedy="write it with jax.numpy; instead of `if` use jnp.where",
        ) from error
    return names


def all_inputs(
    compartments: tuple[str, ...], dose_compartment: str, inputs: Mapping[str, tuple[Input, ...]] | None
) -> Frozen[str, tuple[Input, ...]]:
    """The declared inputs, and a plain one for every other compartment."""
    check_names(compartments, inputs or (), "dose compartment")
    for ways in (inputs or {}).values():
        check_names(compartments, (way.compartment for way in ways), "compartment of an input")
    return Frozen({**plain_inputs(compartments, dose_compartment), **(inputs or {})})


def needed_by_inputs(inputs: Mapping[str, tuple[Input, ...]], known: tuple[str, ...]) -> tuple[str, ...]:
    """The durations of zero-order inputs, which have no default, as far as they are not `known`."""
    durations = dict.fromkeys(way.duration for ways in inputs.values() for way in ways if way.zero_order)
    return tuple(name for name in durations if name not in known)


def check_outputs(outputs: Mapping[str, Output]) -> None:
    """Raise ModelError unless there is an output and all have proper names."""
    wrong = [name for name in outputs if not name.isidentifier()]
    if wrong or not outputs:
        raise ModelError(
            f"found outputs {', '.join(wrong) or 'none'}; expected at least one, with names of Python"
        )
