"""Arrays and agendas to bytes and back, exactly, for a ward's checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import numpy.typing as npt

from dosetwin.stream_jobs.fleet.agenda import Agenda, Appointment

AnyArray = npt.NDArray[Any]


class PackedArray(msgspec.Struct, array_like=True):
    """One array: numpy type, shape, bytes."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


class Checkpoint(msgspec.Struct):
    """A ward at `time_s` (event time), after `tick` ticks."""

    time_s: float
    tick: int
    arrays: dict[str, PackedArray]
    appointments: list[Appointment]
    number: int


def pack(time_s: float, tick: int, arrays: Mapping[str, AnyArray], agenda: Agenda) -> bytes:
    """The checkpoint as bytes."""
    number, appointments = agenda.dump()
    packed = {
        name: PackedArray(array.dtype.str, array.shape, np.ascontiguousarray(array).tobytes())
        for name, array in arrays.items()
    }
    return msgspec.msgpack.encode(Checkpoint(time_s, tick, packed, appointments, number))


def unpack(payload: bytes, agenda: Agenda) -> tuple[float, int, dict[str, AnyArray]]:
    """(time, tick, arrays) of a checkpoint; its appointments go into `agenda`."""
    checkpoint = msgspec.msgpack.decode(payload, type=Checkpoint)
    agenda.load(checkpoint.number, checkpoint.appointments)
    arrays = {
        name: np.frombuffer(packed.data, packed.dtype).reshape(packed.shape).copy()
        for name, packed in checkpoint.arrays.items()
    }
    return checkpoint.time_s, checkpoint.tick, arrays


def leaves(name: str, tree: Any) -> dict[str, AnyArray]:
    """A struct of JAX arrays as named numpy arrays."""
    return {f"{name}.{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(tree))}


def with_leaves(name: str, tree: Any, arrays: Mapping[str, AnyArray]) -> Any:
    """The struct with its arrays taken from a checkpoint."""
    old, structure = jax.tree.flatten(tree)
    return jax.tree.unflatten(structure, [jnp.asarray(arrays[f"{name}.{i}"]) for i in range(len(old))])
