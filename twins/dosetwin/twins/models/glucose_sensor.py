"""The glucose sensor: interstitial lag, and an error that remembers itself.

    dC/dt = (G - C) / t_s                 C interstitial glucose, mmol/L; t_s = 1 / 0.073 min
    reading = C' + b s(C') + e            C' = 18.016 C, mg/dL; s(C') = 7 + 0.03 C'
    e ~ N(0, 2^2 + (0.02 C')^2)
    b: first-order autoregressive, standard normal, time constant 42 min

The lag is k_a,int of Wilinska et al. 2010, J Diabetes Sci Technol 4:132. The first-order autoregression, with
coefficient 0.7 for 15 min (42 min), is Breton & Kovatchev 2008, J Diabetes Sci Technol 2:853, whose error
does not depend on glucose (standard deviation about 12 mg/dL with Johnson's transform); that part of it is
proportional, and the sizes (9 mg/dL at 70, 11 at 120, 13 at 200; white 2 mg/dL and 2 %), are our assumption.
"""

from __future__ import annotations

LAG_MIN = 1.0 / 0.073
"""Time constant of interstitial glucose, min."""
ERROR_SD_MG_DL = 7.0
"""Standard deviation of the error that persists, part that does not depend on glucose."""
ERROR_CV = 0.03
"""Part of it that is proportional to glucose."""
ERROR_TIME_MIN = 42.0
"""Time constant of the persisting error, min: 15 / -ln 0.7."""
WHITE_SD_MG_DL = 2.0
"""White noise, part that does not depend on the reading."""
WHITE_CV = 0.02
"""White noise, part proportional to the reading."""
