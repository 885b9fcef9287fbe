"""The glucose sensor: interstitial lag, and an error that remembers itself.

    dC/dt = (G - C) / t_s                 C interstitial glucose, mmol/L; t_s = 1 / 0.073 min
    reading = 18.016 C (1 + b) + e        mg/dL; e ~ N(0, 2^2 + (0.02 reading)^2)
    b: first-order autoregressive, standard deviation 0.06, time constant 42 min

The lag is k_a,int of Wilinska et al. 2010, J Diabetes Sci Technol 4:132. The first-order autoregression, with
coefficient 0.7 for 15 min (42 min), is Breton & Kovatchev 2008, J Diabetes Sci Technol 2:853. That the error
is proportional and its sizes (6 %, and white 2 mg/dL and 2 %) are our assumption for a present-day sensor.
"""

from __future__ import annotations

LAG_MIN = 1.0 / 0.073
"""Time constant of interstitial glucose, min."""
ERROR_SD = 0.06
"""Standard deviation of the relative error that persists."""
ERROR_TIME_MIN = 42.0
"""Time constant of the persisting error, min: 15 / -ln 0.7."""
WHITE_SD_MG_DL = 2.0
"""White noise, part that does not depend on the reading."""
WHITE_CV = 0.02
"""White noise, part proportional to the reading."""
