"""The peer of plant_speed.py: simglucose's own patients, in simglucose's own environment. Prints JSON.

    python tests/benchmarks/_simglucose_peer.py NAMES MINUTES

NAMES is comma-separated ("adult#001,child#005") or "all". One patient after the other lives one day: three
meals of 0.7 g/kg, which simglucose's patient eats at 5 g/min, each with a bolus by the patient's own
carbohydrate ratio, and the basal rate of the steady state. It runs without this project: simglucose pins old
packages.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from types import SimpleNamespace
from typing import Any

MEALS_MIN = (60, 300, 660)
GRAMS_PER_KG = 0.7


def live(patient: Any, meal_g: float, bolus_U: float, minutes: int, action: Any) -> tuple[Any, ...]:
    """Plasma and subcutaneous glucose (mg/dL) and the inputs, minute by minute; the seconds spent."""
    p = patient._params
    basal_U = float(p.u2ss * p.BW / 6000)
    plasma, sensed, insulin, eaten = [], [], [], []
    begin, busy = time.perf_counter(), time.process_time()
    for minute in range(minutes):
        mealtime = minute in MEALS_MIN
        gives = basal_U + (bolus_U if mealtime else 0.0)
        patient.step(action(insulin=gives, CHO=meal_g if mealtime else 0.0))
        plasma.append(float(patient.state[3] / p.Vg))
        sensed.append(float(patient.state[12] / p.Vg))
        insulin.append(gives)
        eaten.append(float(patient._last_action.CHO))
    spent = {"wall": time.perf_counter() - begin, "processor": time.process_time() - busy}
    return plasma, sensed, insulin, eaten, spent


def main(names: str, minutes: int) -> None:
    """Print parameters, inputs, trajectories and times of every patient named."""
    warnings.simplefilter("ignore")
    import pandas as pd

    # installed in an environment of its own, where mypy does not look
    from simglucose.patient.t1dpatient import (  # type: ignore[import-not-found]
        PATIENT_PARA_FILE,
        Action,
        T1DPatient,
    )

    table: Any = pd.read_csv(PATIENT_PARA_FILE).set_index("Name", drop=False)
    ratios: Any = pd.read_csv(PATIENT_PARA_FILE.replace("vpatient_params", "Quest")).set_index("Name")["CR"]
    people = []
    for name in table.index if names == "all" else names.split(","):
        row = table.loc[name]
        meal_g = round(GRAMS_PER_KG * float(row.BW), 0)
        bolus_U = round(meal_g / float(ratios[name]), 1)
        patient = T1DPatient.withName(name)
        start = [float(v) for v in patient.init_state]
        plasma, sensed, insulin, eaten, seconds = live(patient, meal_g, bolus_U, minutes, Action)
        # the same solver and equations, with the parameters in an attribute and not in a pandas row
        lighter = T1DPatient.withName(name)
        lighter._params = SimpleNamespace(**row.to_dict())
        *again, light_seconds = live(lighter, meal_g, bolus_U, minutes, Action)
        assert again[0] == plasma
        people.append(
            {
                "name": name,
                "parameters": {k: v for k, v in row.to_dict().items() if isinstance(v, int | float)},
                "start": start,
                "insulin_U_per_min": insulin,
                "carbohydrate_g_per_min": eaten,
                "plasma_mg_dL": plasma,
                "subcutaneous_mg_dL": sensed,
                "seconds": seconds,
                "light_seconds": light_seconds,
            }
        )
    print(json.dumps(people))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
