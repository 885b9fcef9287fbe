"""The closed loop on simglucose's 30 patients: a plant that other people wrote, through the public API alone.

    python -m tests.closed_loop.simglucose_loop --group adult --seed 5001 [--announced] [--json]
    python -m tests.closed_loop.simglucose_loop --patients adult#001,child#003 --hours 48 --policy basal_bolus

simglucose 0.2.11 lives in .tools/simglucose (made when it is not there) and is spoken to over a pipe; each
patient starts at midnight in its own steady state and eats as `RandomScenario(seed)` says: three meals and
up to three snacks a day. The policy `dosetwin` is told weight and total daily dose (with --settings also
basal rate, ratio and factor), the sensor's readings, and what the pump delivered. `basal_bolus` is
simglucose's own controller; `basal` runs the basal rate of the steady state. Measures are of plasma-side
glucose (`bg`), not of the sensor.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from dosetwin.twins import ClosedLoop, Patient
from tests.simglucose_environment import HOME, peer_python

WORLD = Path(__file__).with_name("_simglucose_world.py")
START = datetime(2026, 1, 1, tzinfo=UTC)
GROUPS = ("adult", "adolescent", "child")
POLICIES = ("dosetwin", "basal_bolus", "basal")


@dataclass(frozen=True)
class Run:
    """One patient under one policy. `miscount`: counted carbohydrate over true. `pump`: delivered over
    ordered."""

    name: str
    seed: int
    hours: float
    policy: str = "dosetwin"
    announced: bool = False
    settings: bool = False
    sensor: str = "Dexcom"
    miscount: float = 1.0
    pump: float = 1.0
    weight: float = 1.0


class World:
    """The other side of the pipe."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.described = self._read()

    def step(self, basal_U_per_min: float, bolus_U_per_min: float) -> dict[str, Any]:
        """Live one sample."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"basal": basal_U_per_min, "bolus": bolus_U_per_min}) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("simglucose ended; its error is above")
        found: dict[str, Any] = json.loads(line)
        return found


@contextmanager
def world(run: Run) -> Iterator[World]:
    """simglucose with the patient of a run."""
    command = [str(HOME / "bin" / "python"), str(WORLD), run.name, str(run.seed), run.sensor, str(START.hour)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield World(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=30)


class Pump:
    """Runs the programmed rate, or an ordered one for as long as it was ordered; gives boluses at once."""

    def __init__(self, basal_U_per_h: float) -> None:
        self.programmed = basal_U_per_h
        self.rate, self.until = basal_U_per_h, START

    def running(self, at: datetime) -> float:
        """U/h at that moment."""
        return self.rate if at < self.until else self.programmed

    def obey(self, orders: Any, at: datetime) -> float:
        """Take orders; returns the bolus in U."""
        bolus = 0.0
        for order in orders:
            if order.kind == "rate":
                self.rate, self.until = order.amount, at + timedelta(seconds=order.duration_s)
            else:
                bolus += order.amount
        return bolus


def live(run: Run) -> dict[str, Any]:
    """Glucose of every sample, insulin and measures of one run."""
    with world(run) as there:
        person = there.described
        sample = timedelta(minutes=person["sample_min"])
        pump = Pump(person["basal_U_per_h"])
        loop = None
        if run.policy == "dosetwin":
            known = {
                "weight_kg": person["weight_kg"] * run.weight,
                "total_daily_dose_U": person["total_daily_dose_U"],
            }
            if run.settings:
                known |= {
                    "basal_rate_U_per_h": person["basal_U_per_h"],
                    "carbohydrate_ratio_g_per_U": person["carbohydrate_ratio_g_per_U"],
                    "correction_factor_mg_dL_per_U": person["correction_factor_mg_dL_per_U"],
                }
            loop = ClosedLoop("t1d-insulin", Patient(**known), seed=run.seed)
        now, cgm, meal_g = START, person["cgm"], 0.0
        bg, insulin, meals, reasons = [person["bg"]], [], [], []
        told = None
        while now - START < timedelta(hours=run.hours):
            bolus = 0.0
            if loop is not None:
                loop.observe("glucose", cgm, "mg/dL", at=now)
                if run.announced and meal_g > 0:
                    loop.announce("meal", carbohydrate_g=meal_g * run.miscount, at=now)
                decision = loop.decide(at=now)
                bolus = pump.obey(decision.orders, now)
                reasons.append(decision.reason)
            elif run.policy == "basal_bolus" and run.announced and meal_g > 0:
                high = (cgm - 140.0) / person["correction_factor_mg_dL_per_U"] if cgm > 150.0 else 0.0
                bolus = max(0.0, meal_g * run.miscount / person["carbohydrate_ratio_g_per_U"] + high)
            rate = pump.running(now)
            if loop is not None:
                if rate != told:
                    loop.record_dose("insulin", rate * run.pump, "U/h", at=now)
                    told = rate
                if bolus > 0:
                    loop.record_dose("insulin", bolus * run.pump, "U", at=now)
            lived = there.step(rate * run.pump / 60.0, bolus * run.pump / person["sample_min"])
            now += sample
            cgm, meal_g = lived["cgm"], lived["meal_g"]
            bg.append(lived["bg"])
            insulin.append(lived["delivered_U"])
            meals.append(meal_g)
            if lived["over"]:
                break
    glucose = np.array(bg)
    return {
        "name": run.name,
        "measures": measures(glucose) | {"survived_h": (now - START).total_seconds() / 3600},
        "bg": [round(value, 1) for value in bg],
        "insulin_U": [round(value, 4) for value in insulin],
        "meal_g": [round(value, 1) for value in meals],
        "reasons": reasons,
    }


def measures(glucose_mg_dL: Any) -> dict[str, float]:
    """Percentages of the samples, mean and lowest."""
    g = np.asarray(glucose_mg_dL)
    return {
        "time_in_range_pct": float(100 * ((g >= 70) & (g <= 180)).mean()),
        "below_70_pct": float(100 * (g < 70).mean()),
        "below_54_pct": float(100 * (g < 54).mean()),
        "above_250_pct": float(100 * (g > 250).mean()),
        "mean_mg_dL": float(g.mean()),
        "lowest_mg_dL": float(g.min()),
    }


def main() -> None:
    """Run patients on all cores and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--group", choices=GROUPS, default="adult")
    parser.add_argument("--patients", default="", help="names with commas, instead of a group")
    parser.add_argument("--seed", type=int, default=5001, help="of meals and sensor noise; patient k adds k")
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--policy", choices=POLICIES, default="dosetwin")
    parser.add_argument("--announced", action="store_true", help="meals are told when they begin")
    parser.add_argument("--settings", action="store_true", help="the twin is told basal rate, ratio, factor")
    parser.add_argument("--sensor", choices=("Dexcom", "GuardianRT"), default="Dexcom")
    parser.add_argument("--miscount", type=float, default=1.0, help="counted over true carbohydrate")
    parser.add_argument(
        "--pump", type=float, default=1.0, help="delivered over ordered insulin (both are told)"
    )
    parser.add_argument("--weight", type=float, default=1.0, help="enrolled over true weight")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, help="write every run as JSON here")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    names = given.patients.split(",") if given.patients else [f"{given.group}#{k:03d}" for k in range(1, 11)]
    runs = [
        Run(
            name,
            given.seed + k,
            given.hours,
            given.policy,
            given.announced,
            given.settings,
            given.sensor,
            given.miscount,
            given.pump,
            given.weight,
        )
        for k, name in enumerate(names)
    ]
    if peer_python() is None:
        sys.exit(2)
    done = []
    with ProcessPoolExecutor(given.workers, mp_context=get_context("spawn")) as pool:
        for found in pool.map(live, runs):
            done.append(found)
            row = found["measures"]
            print(
                f"{found['name']:16s} TIR {row['time_in_range_pct']:5.1f} %  <70 {row['below_70_pct']:4.1f}  "
                f"<54 {row['below_54_pct']:4.1f}  >250 {row['above_250_pct']:4.1f}  "
                f"mean {row['mean_mg_dL']:5.1f}  lowest {row['lowest_mg_dL']:5.1f} mg/dL",
                flush=True,
            )
    if given.out:
        given.out.write_text(json.dumps(done))
    table = {name: float(np.mean([d["measures"][name] for d in done])) for name in done[0]["measures"]}
    print(f"{'mean':16s} " + "  ".join(f"{name} {value:.2f}" for name, value in table.items()))
    if given.json:
        print(json.dumps({"policy": given.policy, "announced": given.announced, "mean": table}))


if __name__ == "__main__":
    main()
