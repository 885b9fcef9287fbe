"""One file a therapy. A module here that defines `therapy` is found by its name (dashes as underscores)."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from dosetwin.platform.errors import TherapyError
from dosetwin.twins.therapy import Therapy


def therapy_ids() -> tuple[str, ...]:
    """The ids of the therapies there are, in alphabetical order."""
    return tuple(sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__)))


@cache
def load_therapy(therapy_id: str) -> Therapy:
    """The therapy of that id.

    Raises TherapyError, naming the therapies there are, when it does not exist.
    """
    if therapy_id not in therapy_ids():
        raise TherapyError(
            f"no therapy {therapy_id!r}; there are {', '.join(therapy_ids())}",
            remedy=f"correct the id, or add twins/dosetwin/twins/therapies/{therapy_id.replace('-', '_')}.py",
        )
    module = importlib.import_module(f"{__name__}.{therapy_id.replace('-', '_')}")
    therapy: Therapy = module.therapy
    if therapy.id != therapy_id:
        raise TherapyError(f"{module.__file__} defines therapy {therapy.id!r}; expected {therapy_id!r}")
    return therapy
