"""Prometheus's text format, read back: families of samples, and quantiles of their histograms."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.parser import text_string_to_metric_families

Samples = dict[str, list[tuple[dict[str, str], float]]]


def parse(text: str) -> Samples:
    """Sample name -> (labels, value) of every sample in the text."""
    samples: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples.setdefault(sample.name, []).append((dict(sample.labels), float(sample.value)))
    return samples


def total(several: Iterable[Samples], name: str) -> float | None:
    """The sum of a sample over all its labels and processes; None where nobody has it."""
    values = [value for samples in several for _, value in samples.get(name, [])]
    return sum(values) if values else None


def by_label(several: Iterable[Samples], name: str, label: str) -> dict[str, float]:
    """Sums of a sample by one label."""
    sums: dict[str, float] = {}
    for samples in several:
        for labels, value in samples.get(name, []):
            key = labels.get(label, "")
            sums[key] = sums.get(key, 0.0) + value
    return sums


def quantile(several: Iterable[Samples], name: str, q: float) -> float | None:
    """A quantile of a histogram summed over processes, linear within its bucket; None where it is empty.

    The upper edge of the last finite bucket stands for everything beyond it.
    """
    buckets: dict[float, float] = {}
    for samples in several:
        for labels, value in samples.get(f"{name}_bucket", []):
            edge = float(labels["le"])
            buckets[edge] = buckets.get(edge, 0.0) + value
    edges = sorted(buckets)
    if not edges or buckets[edges[-1]] == 0:
        return None
    wanted = q * buckets[edges[-1]]
    below_edge, below = 0.0, 0.0
    for edge in edges:
        if buckets[edge] >= wanted:
            if edge == float("inf"):
                return below_edge
            share = (wanted - below) / (buckets[edge] - below) if buckets[edge] > below else 1.0
            return below_edge + share * (edge - below_edge)
        below_edge, below = edge, buckets[edge]
    return below_edge
