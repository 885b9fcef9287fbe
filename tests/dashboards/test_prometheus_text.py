from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from dosetwin.dashboards.prometheus_text import by_label, parse, quantile, total

BUCKETS = (0.01, 0.1, 0.5, 1.0, 5.0)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.0, 5.0), min_size=1, max_size=60), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(values: list[float], q: float) -> None:
    registries = [CollectorRegistry(), CollectorRegistry()]
    histograms = [Histogram("h", "h", buckets=BUCKETS, registry=each) for each in registries]
    for index, value in enumerate(values):
        histograms[index % 2].observe(value)
    several = [parse(generate_latest(each).decode()) for each in registries]
    found = quantile(several, "h", q)
    true = float(np.quantile(values, q, method="inverted_cdf"))
    edges = (0.0, *BUCKETS)
    bucket = next(index for index in range(len(BUCKETS)) if true <= edges[index + 1])
    assert found is not None
    assert edges[bucket] <= found <= edges[bucket + 1]
    assert total(several, "h_count") == len(values)


def test_what_nobody_has_is_none_not_zero() -> None:
    samples = parse('a_total{reason="x"} 3\na_total{reason="y"} 4\n')
    assert total([samples], "b") is None
    assert quantile([samples], "b", 0.5) is None
    assert by_label([samples], "a_total", "reason") == {"x": 3.0, "y": 4.0}
