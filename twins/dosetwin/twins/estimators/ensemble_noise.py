"""Process noise that is a function of (patient, event time, row, member) and of nothing else.

A counter-based hash, not a stream: the same fact gives the same noise wherever it stands in a batch, whatever
was drawn before. The finaliser of MurmurHash3 mixes; four of its bytes are summed, which has mean 510,
standard deviation 147.8 and is normal to 1 % between -2.5 and 2.5 (bounded at 3.4), enough for process noise.
"""

from __future__ import annotations

import hashlib

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jaxtyping import Array, Float, UInt32

_BYTE_SUM_SD = float(np.sqrt(4 * (256**2 - 1) / 12))


def mix(bits: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    """MurmurHash3's 32-bit finaliser."""
    bits = (bits ^ (bits >> 16)) * jnp.uint32(0x85EBCA6B)
    bits = (bits ^ (bits >> 13)) * jnp.uint32(0xC2B2AE35)
    return bits ^ (bits >> 16)


def standard_normal(bits: UInt32[Array, "..."]) -> Float[Array, "..."]:
    """Nearly standard normal numbers from mixed bits."""
    byte = jnp.uint32(0xFF)
    total = (bits & byte) + ((bits >> 8) & byte) + ((bits >> 16) & byte) + (bits >> 24)
    centred: Array = total.astype(jnp.int32).astype(jnp.float32) - 510.0
    return centred * (1.0 / _BYTE_SUM_SD)


def patient_key(seed: int, patient: str) -> int:
    """32 bits for a patient under a seed."""
    digest = hashlib.blake2b(patient.encode(), digest_size=4, key=seed.to_bytes(8, "little", signed=True))
    return int.from_bytes(digest.digest(), "little")


def fold(key: npt.NDArray[np.uint32], number: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint32]:
    """`key` with a 64-bit number folded in; elementwise."""
    low = (number & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    high = (number >> np.uint64(32)).astype(np.uint32)
    with np.errstate(over="ignore"):
        bits = (key ^ low) * np.uint32(0x9E3779B1)
        bits = ((bits ^ (bits >> np.uint32(15))) + high) * np.uint32(0x85EBCA6B)
        return bits ^ (bits >> np.uint32(13))
