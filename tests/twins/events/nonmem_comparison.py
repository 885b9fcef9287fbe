"""NONMEM's own predictions beside the slow simulator's and the engine's.

    python -m tests.twins.events.nonmem_comparison nmtest.csv

The file is the data set `nmtest` of the R package nlmixr2data, written as CSV: one compartment with a depot,
CL 1.1, V 20, ka 1.5, NONMEM 7.4.3's predictions in the column cp (five digits, amount / (V / 1000)); lag,
bioavailability, modelled rate and duration of the central compartment in lagt, bioav, rat2 and dur2. A
column wt scales CL by (wt / 70)^0.75. Patients whose lag exceeds the interval of a steady-state dose are
marked: NONMEM's amounts are wrong there (some are negative) until the dose acts, and the engine refuses them.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd

from dosetwin.twins.models.compartments import Linear
from dosetwin.twins.models.errors import ModelError
from dosetwin.twins.simulation.prediction import predict

from . import oracle
from .equations import concentrations, mammillary
from .strategies import Case, case, model_of, system_of

STRUCTURE = Linear(1, "first_order")
COLUMNS = {
    "time": "time",
    "evid": "evid",
    "amount": "amt",
    "rate": "rate",
    "compartment": "cmt",
    "steady_state": "ss",
    "interval": "ii",
    "additional": "addl",
}


def patient(id: object, records: pd.DataFrame) -> Case:
    """One patient of the file; amounts are in milligrams per thousand, as its levels are."""
    columns = {ours: [float(v) for v in records[theirs]] for ours, theirs in COLUMNS.items()}
    weight = records["wt"] if "wt" in records else np.full(len(records), 70.0)
    rows = [
        {"CL": 1.1 * (w / 70) ** 0.75, "V1": 20.0, "ka": 1.5, "F": 1.0, "lag": 0.0, "D": 1.0, "R": 1.0}
        | {"F_central": f, "lag_central": lag, "R_central": r, "D_central": d}
        for w, f, lag, r, d in zip(
            weight, records["bioav"], records["lagt"], records["rat2"], records["dur2"], strict=True
        )
    ]
    return case(columns, rows, id=str(id))


def main(path: str) -> None:
    """Print the largest deviation of each patient, relative to NONMEM's largest prediction."""
    model = model_of(STRUCTURE)
    system = system_of(STRUCTURE, mammillary(1, True), concentrations(1, True), method="exponential")
    table = pd.read_csv(path)
    print(f"{'patient':>8} {'records':>8} {'simulator':>10} {'engine':>10}")
    for id_, records in table.groupby("id", sort=False):
        given = patient(id_, records)
        theirs = records.loc[records["evid"] == 0, "cp"].to_numpy(np.float64)
        true = 1000 * oracle.simulate(system, given.subject, given.rows)[0][:, 0]
        try:
            ours = 1000 * predict(model, [given.subject])[0]
        except ModelError:
            ours = np.full_like(true, np.nan)
        steady = records["ss"] > 0
        beyond = bool((records["lagt"][steady] > records["ii"][steady]).any())
        worst = [np.max(np.abs(found - theirs)) / np.max(np.abs(theirs)) for found in (true, ours)]
        note = "  lag > II" if beyond else ""
        print(f"{id_!s:>8} {len(theirs):8d} {worst[0]:10.1e} {worst[1]:10.1e}{note}")


if __name__ == "__main__":
    main(sys.argv[1])
