"""Predictions: what the model says that each observation record is, for given etas."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from types import SimpleNamespace
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jaxtyping import Array, Float

from dosetwin.twins.data.subject import Subject
from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.population_model import Population, PopulationModel
from dosetwin.twins.precision import double_precision
from dosetwin.twins.simulation.cohort import Cohort, cohort
from dosetwin.twins.simulation.engine import run
from dosetwin.twins.simulation.event_program import Program
from dosetwin.twins.simulation.individual import dimensions, individual_parameters

Values = npt.NDArray[np.float64]


def predicted(
    model: PopulationModel, steady: bool, population: Population, program: Program, z: Float[Array, " Z"]
) -> Float[Array, " N"]:
    """The prediction f of every observation record of one subject, for standard normal z.

    Traced once for all who differentiate, batch or compile it further.
    """
    f: Array = _traced(model, steady, population, program, z)
    return f


@partial(jax.jit, static_argnums=(0, 1))
def _traced(
    model: PopulationModel, steady: bool, population: Population, program: Program, z: Float[Array, " Z"]
) -> Float[Array, " N"]:
    p = individual_parameters(model, population, program.rows, z)
    return observed(model, program, p, run(model, program, p, steady=steady).outputs)


def observed(
    model: PopulationModel, program: Program, p: SimpleNamespace, outputs: Float[Array, "N outputs"]
) -> Float[Array, " N"]:
    """What the model says of every observation record, from the structure's outputs there."""
    place = program.observations.event
    own = jnp.asarray(program.events.row)[place]
    one_row = program.rows.occasion.shape[0] == 1
    at = SimpleNamespace(**{name: v[0] if one_row else v[own] for name, v in vars(p).items()})
    names = model.structure.outputs
    y = SimpleNamespace(**{name: outputs[:, i] for i, name in enumerate(names)})
    found = jnp.zeros(place.shape, outputs.dtype)
    for k, quantity in enumerate(model.outputs):
        if callable(quantity.output):
            value = _direct(quantity.output, at, y)
        else:
            value = outputs[:, names.index(quantity.output) if quantity.output else 0]
        found = (
            value if len(model.outputs) == 1 else jnp.where(program.observations.output == k, value, found)
        )
    return found


def _direct(output: Callable[..., Any], p: SimpleNamespace, y: SimpleNamespace) -> Any:
    try:
        return output(p, y)
    except AttributeError as error:
        raise ModelError(
            f"an output function uses {getattr(error, 'name', error)!r}; expected a parameter "
            f"({', '.join(vars(p))}) or an output of the structure ({', '.join(vars(y))})"
        ) from error


@cache
def _batched(root: PopulationModel, steady: bool) -> Callable[..., Array]:
    def one(population: Population, program: Program, z: Array) -> Array:
        return predicted(root, steady, population, program, z)

    return cast("Callable[..., Array]", jax.jit(jax.vmap(one, in_axes=(None, 0, 0))))


def predict(
    model: PopulationModel,
    subjects: Iterable[Subject] | Cohort,
    etas: Sequence[Mapping[str, float]] | Values | None = None,
) -> list[Values]:
    """Predictions of every observation record (also of those without a value), in file order.

    `etas`: one mapping of parameter name to eta a subject, or an array [subjects, K] in the order of
    `model.varying`; None for the typical subject. Inter-occasion etas are 0 here. Raises ModelError where
    the model gives a number that is not finite.
    """
    prepared = subjects if isinstance(subjects, Cohort) else cohort(model, list(subjects))
    z = np.zeros((len(prepared), len(model.varying)))
    if etas is not None:
        table = (
            np.asarray(etas, np.float64)
            if isinstance(etas, np.ndarray)
            else np.array([[row.get(name, 0.0) for name in model.varying] for row in etas])
        )
        z = np.linalg.solve(model.population.omega, table.T).T if table.size else z
    found: list[Values] = [np.zeros(0)] * len(prepared)
    for batch in prepared.batches:
        full = np.zeros((batch.size, dimensions(model, batch.occasions)))
        full[: len(batch.index), : z.shape[1]] = z[batch.index]
        with double_precision():
            f = np.asarray(_batched(model.root, batch.steady)(model.population, batch.program, full))
        for row, i in enumerate(batch.index):
            subject = prepared.subjects[i]
            count = int(np.sum(subject.evid == 0))
            found[i] = f[row, :count]
            if not np.isfinite(found[i]).all():
                at = int(np.flatnonzero(~np.isfinite(found[i]))[0])
                raise ModelError(
                    f"subject {subject.id}: prediction {at + 1} of {count} is {found[i][at]}; expected a "
                    "finite number",
                    remedy="check the parameters' size and units; a stiff system needs an Adaptive solver",
                )
    return found
