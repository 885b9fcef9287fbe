"""One file a therapy. A module here that defines `therapy` is found by its name (dashes as underscores)."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from types import ModuleType

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


def population_models() -> dict[str, tuple[ModuleType, str]]:
    """Where each therapy's population models are: id -> (module, name of the attribute).

    `phenobarbital` is the one that a fit takes: the module's `FITTED`, else the first it defines.
    `phenobarbital/voller-2017` is the one called VOLLER_2017 there. A therapy whose twins have another
    estimator has none.
    """
    from dosetwin.twins.population_model import PopulationModel

    found: dict[str, tuple[ModuleType, str]] = {}
    for therapy_id in therapy_ids():
        module = importlib.import_module(f"{__name__}.{therapy_id.replace('-', '_')}")
        names = [name for name, value in vars(module).items() if isinstance(value, PopulationModel)]
        chosen = [name for name in names if name == "FITTED"] or names[:1]
        for name in chosen:
            found[therapy_id] = (module, name)
        for name in names:
            if name != "FITTED":
                found[f"{therapy_id}/{name.lower().replace('_', '-')}"] = (module, name)
    return found
