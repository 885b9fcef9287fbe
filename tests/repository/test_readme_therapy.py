"""The README's therapy works: it is run as written and compared with the one it was taken from."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from dosetwin.twins.events import TwinEvent
from dosetwin.twins.therapies import load_therapy
from dosetwin.twins.therapy import Therapy

README = Path(__file__).parents[2] / "README.md"
HOUR_S = 3600.0


def written() -> Therapy:
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    (block,) = (block for block in blocks if "therapy = Therapy(" in block)
    names: dict[str, object] = {}
    exec(compile(block, "README.md", "exec"), names)
    therapy = names["therapy"]
    assert isinstance(therapy, Therapy)
    return therapy


def test_the_therapy_of_the_readme_is_the_one_in_the_repository() -> None:
    shown, kept = written(), load_therapy("quinidine")
    facts = [
        ("p", TwinEvent(0.0, "bolus", "quinidine", 249.0, 1)),
        ("p", TwinEvent(6 * HOUR_S, "bolus", "quinidine", 249.0, 2)),
        ("p", TwinEvent(9 * HOUR_S, "observation", "quinidine", 1.7, 3)),
    ]
    bands = []
    for therapy in (shown, kept):
        bank = therapy.make_bank(4, 0)
        covariates = {"creatinine_clearance": 70.0, "severe_heart_failure": 1.0}
        targets = {name: bound.value for name, bound in therapy.targets.items()}
        bank.enrol("p", at_s=0.0, covariates=covariates, targets=targets)
        prediction = bank.assimilate(facts).predictions[2]
        assert prediction is not None
        assert prediction.low < prediction.median < prediction.high
        bands.append(bank.decide(["p"], [10 * HOUR_S]).bands["quinidine"])
    assert np.all(np.isfinite(bands[0]))
    np.testing.assert_allclose(bands[0], bands[1], rtol=1e-6)
    assert (shown.id, shown.drugs, shown.observed) == (kept.id, kept.drugs, kept.observed)
    assert dict(shown.targets) == dict(kept.targets)
