"""One to three compartments as an equation: the pharmacokinetic part that other equations are put on.

With C = central / V1 and amounts x:

    central'    = ka depot - elimination - Q2 (C - peripheral/V2) - Q3 (C - peripheral_2/V3)
    elimination = CL C                     "linear"
                = Vmax C / (Km + C)        "michaelis_menten" (Vmax: amount/time; Km: concentration)
                = CL C + Vmax C / (Km + C) "mixed"

Where nothing but this is needed and elimination is linear, `Linear` (compartments) has the closed form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dosetwin.twins.models.equations import Rate
from dosetwin.twins.models.errors import ModelError

Elimination = Literal["linear", "michaelis_menten", "mixed"]
_PERIPHERAL = (("peripheral", "Q2", "V2"), ("peripheral_2", "Q3", "V3"))


@dataclass(frozen=True)
class Disposition:
    """How many compartments, whether there is a depot (rate constant ka), and how the drug leaves."""

    size: Literal[1, 2, 3] = 1
    absorption: Literal["none", "first_order"] = "none"
    elimination: Elimination = "linear"

    def __post_init__(self) -> None:
        if self.size not in (1, 2, 3):
            raise ModelError(f"found {self.size} compartments; expected 1, 2 or 3")
        if self.absorption not in ("none", "first_order"):
            raise ModelError(
                f"found absorption {self.absorption!r}; expected none or first_order",
                remedy="zero-order and mixed absorption are declared by `inputs`, others by `input_function`",
            )
        if self.elimination not in ("linear", "michaelis_menten", "mixed"):
            raise ModelError(
                f"found elimination {self.elimination!r}; expected linear, michaelis_menten or mixed"
            )

    @property
    def compartments(self) -> tuple[str, ...]:
        """Depot (with absorption), central, peripheral, peripheral_2."""
        disposition = ("central", "peripheral", "peripheral_2")[: self.size]
        return ("depot", *disposition) if self.absorption == "first_order" else disposition

    @property
    def outputs(self) -> dict[str, str]:
        """The concentration in the central compartment."""
        return {"central": "central/V1"}

    @property
    def flows(self) -> Mapping[tuple[str, str], Rate]:
        """Its rate constants as a linear graph; only for linear elimination."""
        if self.elimination != "linear":
            raise ModelError(f"found {self.elimination} elimination in a linear graph; expected linear")
        flows: dict[tuple[str, str], Rate] = {("central", "out"): "CL/V1"}
        if self.absorption == "first_order":
            flows["depot", "central"] = "ka"
        for name, Q, V in _PERIPHERAL[: self.size - 1]:
            flows["central", name] = f"{Q}/V1"
            flows[name, "central"] = f"{Q}/{V}"
        return flows

    def concentration(self, p: Any, x: Any) -> Any:
        """C = central / V1."""
        return x.central / p.V1

    def __call__(self, p: Any, x: Any) -> dict[str, Any]:
        """The derivative of every compartment."""
        C = self.concentration(p, x)
        slopes: dict[str, Any] = {}
        central = 0.0
        if self.absorption == "first_order":
            absorbed = p.ka * x.depot
            slopes["depot"] = -absorbed
            central = absorbed
        if self.elimination != "michaelis_menten":
            central = central - p.CL * C
        if self.elimination != "linear":
            central = central - p.Vmax * C / (p.Km + C)
        for name, Q, V in _PERIPHERAL[: self.size - 1]:
            exchanged = getattr(p, Q) * (C - getattr(x, name) / getattr(p, V))
            slopes[name] = exchanged
            central = central - exchanged
        slopes["central"] = central
        return slopes
