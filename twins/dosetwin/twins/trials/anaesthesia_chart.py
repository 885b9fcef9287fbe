"""What a person or a simple controller keeps of the monitors: the last few values of each patient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dosetwin.platform.contracts import Order
from dosetwin.twins.events import TwinEvent
from dosetwin.twins.patient import Patient

FloatArray = npt.NDArray[np.float64]
KEPT = 3


class Chart:
    """n patients' newest readings: the last three of the index, the last of pressure and heart rate."""

    STALE_S = 30.0

    def __init__(self, patients: Sequence[Patient]) -> None:
        def given(name: str) -> FloatArray:
            return np.array([float(patient.given[name]) for patient in patients])

        self.age_a, self.weight_kg = given("age_years"), given("weight_kg")
        self.height_cm, self.male = given("height_cm"), given("sex")
        n = len(patients)
        self._index = np.full((n, KEPT), np.nan)
        self._index_at = np.full(n, -np.inf)
        self.pressure = np.full(n, np.nan)
        self.heart_rate = np.full(n, np.nan)

    def __len__(self) -> int:
        return len(self.age_a)

    def note(self, facts: Sequence[Sequence[TwinEvent]]) -> None:
        """Take readings; what is older than the newest is left out."""
        names = {"mean_arterial_pressure": self.pressure, "heart_rate": self.heart_rate}
        newest = self._index_at.tolist()
        for i, mine in enumerate(facts):
            last: dict[str, float] = {}
            for fact in mine:
                if fact.kind == "observation":
                    if fact.name != "bis":
                        last[fact.name] = fact.value
                    elif fact.at_s > newest[i]:
                        newest[i] = fact.at_s
                        self._index[i] = (*self._index[i, 1:], fact.value)
            for name, value in last.items():
                names[name][i] = value
        self._index_at = np.array(newest)

    def index(self, at_s: float) -> FloatArray:
        """The median of the last three readings, [n]; NaN where the newest is older than STALE_S."""
        middle = np.median(self._index, axis=1)
        return np.where(at_s - self._index_at <= self.STALE_S, middle, np.nan)


def rates(
    propofol_mg_per_h: FloatArray, remifentanil_ug_per_h: FloatArray, bolus_mg: FloatArray | None = None
) -> list[tuple[Order, ...]]:
    """Orders of both rates, and of a propofol bolus where there is one."""
    orders: list[tuple[Order, ...]] = []
    for i in range(len(propofol_mg_per_h)):
        mine = [
            _order("propofol", "rate", propofol_mg_per_h[i], "mg/h"),
            _order("remifentanil", "rate", remifentanil_ug_per_h[i], "ug/h"),
        ]
        if bolus_mg is not None and bolus_mg[i] > 0:
            mine.append(_order("propofol", "bolus", bolus_mg[i], "mg"))
        orders.append(tuple(mine))
    return orders


def _order(drug: str, kind: str, amount: float, unit: str) -> Order:
    return Order(drug=drug, route="intravenous", kind=kind, amount=max(float(amount), 0.0), unit=unit)  # type: ignore[arg-type]
