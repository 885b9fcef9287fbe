"""A patient of the twin's own model, written again in NumPy and SciPy: the oracle of filter and decisions."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.linalg import expm

FloatArray = npt.NDArray[np.float64]


def kinetics_matrix(
    V1: float, V2: float, V3: float, CL: float, Q2: float, Q3: float, ke0: float, km: float
) -> FloatArray:
    """d(c1, c2, c3, E, M)/dt = A c, per minute."""
    return np.array(
        [
            [-(CL + Q2 + Q3) / V1, Q2 / V1, Q3 / V1, 0, 0],
            [Q2 / V2, -Q2 / V2, 0, 0, 0],
            [Q3 / V3, 0, -Q3 / V3, 0, 0],
            [ke0, 0, 0, -ke0, 0],
            [km, 0, 0, 0, -km],
        ]
    )


def after(A: FloatArray, V1: float, state: FloatArray, rate_per_min: float, minutes: float) -> FloatArray:
    """The state after a constant infusion, by the exponential of the matrix with the input appended."""
    whole = np.zeros((6, 6))
    whole[:5, :5] = A
    whole[0, 5] = rate_per_min / V1
    moved: FloatArray = (expm(whole * minutes) @ np.append(state, 1.0))[:5]
    return moved


@dataclass
class SimulatedPatient:
    """Second by second; propofol in mg and ug/mL, remifentanil in ug and ng/mL."""

    propofol: dict[str, float]
    remifentanil: dict[str, float]
    C50: float = 3.0
    C50_r: float = 19.3
    alpha: float = 0.5
    gamma: float = 1.6
    E0: float = 95.0
    delay_s: float = 20.0
    pressure: float = 92.0
    heart_rate: float = 70.0
    seed: int = 0
    p: FloatArray = field(default_factory=lambda: np.zeros(5))
    r: FloatArray = field(default_factory=lambda: np.zeros(5))
    stimulus: float = 0.0

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.lags = np.full(3, self.E0)
        self.step_p = self._second(self.propofol)
        self.step_r = self._second(self.remifentanil)

    @staticmethod
    def _second(parameters: dict[str, float]) -> FloatArray:
        whole = np.zeros((6, 6))
        whole[:5, :5] = kinetics_matrix(**parameters)
        whole[0, 5] = 1.0 / parameters["V1"]
        stepped: FloatArray = expm(whole / 60.0)
        return stepped

    def live(self, seconds: int, propofol_mg_h: float, remifentanil_ug_h: float) -> None:
        for _ in range(seconds):
            self.p = (self.step_p @ np.append(self.p, propofol_mg_h / 60.0))[:5]
            self.r = (self.step_r @ np.append(self.r, remifentanil_ug_h / 60.0))[:5]
            drive = self.unstimulated()
            for k in range(3):
                self.lags[k] += (drive - self.lags[k]) * (1 - np.exp(-3.0 / self.delay_s))
                drive = self.lags[k]

    def unstimulated(self) -> float:
        p, r = self.p[3] / self.C50, self.r[3] / self.C50_r
        U = p + r + self.alpha * p * r
        return float(self.E0 / (1 + U**self.gamma))

    def felt(self) -> float:
        return float(self.stimulus / (1 + self.r[3] / 1.2))

    def index(self) -> float:
        """The true index."""
        return float(np.clip(self.unstimulated() + self.felt(), 0, 100))

    def shown(self) -> tuple[float, float, float]:
        """Index, mean pressure (mm[Hg]) and heart rate (/min) as devices show them."""
        power = (self.p[4] / 3.21) ** 1.83
        opioid = self.r[4] / (self.r[4] + 4.59)
        MAP = self.pressure * (1 - 0.4 * power / (1 + power)) * (1 - 0.4 * opioid)
        MAP *= np.exp(0.01 * self.felt())
        HR = self.heart_rate * (1 - 0.35 * opioid) * np.exp(0.008 * self.felt())
        noise = self.rng.normal(size=3)
        index = float(np.clip(self.lags[2] + self.felt() + 3.0 * noise[0], 0, 100))
        return index, float(MAP + 4 * noise[1]), float(HR + 2 * noise[2])
