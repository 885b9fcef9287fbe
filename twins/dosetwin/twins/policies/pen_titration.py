"""Tomorrow's long-acting dose: what would hold a fasting glucose, on the posterior, in small steps.

Without food and at a constant insulin level I the glucose model stands still at G where

    EGP_0 max(1 - S_IE I, 0) = F_01 + S_GZ V_G (G - G_r) + x1 Q1 k_part,  k_part = 1 - k12 / (k12 + x2),
    x_1 = S_IT I (K_Q + V_G G_r) / (K_Q + Q1),  x_2 = S_ID I,  Q1 = V_G G

(Hovorka 2004, equations 1-3 with both derivatives 0). Its left side falls and its right side rises with I, so
that one I solves it for each member; the dose is 24 h of the infusion that keeps it. Of the members the 35 %
quantile is taken (too much is worse than too little) and a day's change is at most a tenth of the dose or one
step of the pen: both our assumptions, in the range of the 10-20 % of ADA Standards of Care, section 9.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dosetwin.twins.estimators import ensemble_layout as row
from dosetwin.twins.models import hovorka
from dosetwin.twins.models.insulin_absorption import K_E, V_I

Floats = npt.NDArray[np.float64]

FASTING_MG_DL = 115.0
"""Middle of the 80-130 mg/dL before meals of ADA Standards of Care, section 6, a little to its safe side."""
CAUTION = 0.35
LARGEST_CHANGE = 0.10
HIGHEST_LEVEL_MU_PER_L = 200.0
HALVINGS = 40


def basal_need_U_per_h(ensemble: Floats, weight_kg: float) -> Floats:
    """The infusion that holds FASTING_MG_DL, of each member of `ensemble` [rows, members]."""
    x = np.asarray(ensemble, np.float64)
    S_IT, S_ID, S_IE, EGP0 = (np.exp(x[k]) for k in (row.LN_SIT, row.LN_SID, row.LN_SIE, row.LN_EGP0))
    glucose = np.asarray(FASTING_MG_DL / hovorka.MG_DL_PER_MMOL_L)
    Q1 = glucose * hovorka.V_G
    lost, uptake = hovorka.losses(glucose), hovorka.saturation(Q1) * S_IT * Q1
    low, high = np.zeros(x.shape[1]), np.full(x.shape[1], HIGHEST_LEVEL_MU_PER_L)
    for _ in range(HALVINGS):
        level = 0.5 * (low + high)
        k_part = 1.0 - hovorka.K_12 / (hovorka.K_12 + S_ID * level)
        net = EGP0 * np.maximum(1.0 - S_IE * level, 0.0) - lost - uptake * level * k_part
        low, high = np.where(net > 0.0, level, low), np.where(net > 0.0, high, level)
    return np.asarray(0.5 * (low + high) * K_E * V_I * weight_kg * 60.0 / 1000.0)


def next_dose_U(need_U_per_h: Floats, previous_U: float | None, step_U: float) -> float:
    """The dose to advise, a multiple of the pen's step: from members' needs, near the previous dose."""
    wanted = 24.0 * float(np.quantile(need_U_per_h, CAUTION))
    if previous_U is not None:
        most = max(LARGEST_CHANGE * previous_U, step_U)
        wanted = min(max(wanted, previous_U - most), previous_U + most)
    return float(np.floor(wanted / step_U + 1e-6) * step_U)
