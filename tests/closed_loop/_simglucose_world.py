"""One simglucose patient in simglucose's own environment, a sample at a time, over standard input and output.

    python tests/closed_loop/_simglucose_world.py NAME SEED SENSOR START_HOUR

It first prints one JSON line that describes the patient, then for every line {"basal": U/min, "bolus":
U/min} it lives one sample of the sensor and prints what happened in it. It runs without this project:
simglucose pins old packages. The parameters stand in plain attributes instead of a pandas row, which changes
no digit and is ten times faster (tests/benchmarks/plant_speed.py).
"""

from __future__ import annotations

import json
import sys
import warnings
from datetime import datetime
from types import SimpleNamespace
from typing import Any


def main(name: str, seed: int, sensor: str, start_hour: int) -> None:
    """Serve until standard input ends."""
    warnings.simplefilter("ignore")
    import pandas as pd

    # installed in an environment of its own, where mypy does not look
    from simglucose.actuator.pump import InsulinPump  # type: ignore[import-not-found]
    from simglucose.controller.base import Action  # type: ignore[import-not-found]
    from simglucose.patient.t1dpatient import (  # type: ignore[import-not-found]
        PATIENT_PARA_FILE,
        T1DPatient,
    )
    from simglucose.sensor.cgm import CGMSensor  # type: ignore[import-not-found]
    from simglucose.simulation.env import T1DSimEnv  # type: ignore[import-not-found]
    from simglucose.simulation.scenario_gen import RandomScenario  # type: ignore[import-not-found]

    quest: Any = (
        pd.read_csv(PATIENT_PARA_FILE.replace("vpatient_params", "Quest")).set_index("Name").loc[name]
    )
    patient = T1DPatient.withName(name)
    row = patient._params
    midnight = datetime(2026, 1, 1)  # noqa: DTZ001 - simglucose knows no time zones
    scenario = RandomScenario(start_time=midnight.replace(hour=start_hour), seed=seed)
    world = T1DSimEnv(
        patient, CGMSensor.withName(sensor, seed=seed), InsulinPump.withName("Insulet"), scenario
    )
    begun = world.reset()
    patient._params = SimpleNamespace(**row.to_dict())
    say(
        {
            "weight_kg": float(row.BW),
            "total_daily_dose_U": float(quest.TDI),
            "basal_U_per_h": float(row.u2ss * row.BW / 6000 * 60),
            "carbohydrate_ratio_g_per_U": float(quest.CR),
            "correction_factor_mg_dL_per_U": float(quest.CF),
            "age_years": float(quest.Age),
            "sample_min": float(world.sample_time),
            "cgm": float(begun.observation.CGM),
            "bg": float(begun.info["bg"]),
        }
    )
    for line in sys.stdin:
        asked = json.loads(line)
        done = world.step(Action(basal=asked["basal"], bolus=asked["bolus"]))
        say(
            {
                "cgm": float(done.observation.CGM),
                "bg": float(done.info["bg"]),
                "meal_g": float(done.info["meal"] * world.sample_time),
                "delivered_U": float(world.insulin_hist[-1] * world.sample_time),
                "over": bool(done.done),
            }
        )


def say(what: dict[str, Any]) -> None:
    """One line of JSON, at once."""
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
