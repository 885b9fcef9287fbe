"""The replay through real Kafka and a real shard gives what the bank gives as a library."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

import pytest

from dosetwin.platform.settings import Settings
from dosetwin.stream_jobs.replay.messages import anchor
from dosetwin.stream_jobs.replay.offline import predict_offline
from dosetwin.stream_jobs.replay.performance import performance
from dosetwin.stream_jobs.replay.plots import draw_plots
from dosetwin.stream_jobs.replay.recorded_sets import phenobarb
from dosetwin.stream_jobs.replay.recording import DataSet
from dosetwin.stream_jobs.replay.run import summary
from dosetwin.stream_jobs.replay.stream import predict_streamed


def work(settings: Settings) -> None:
    from dosetwin.stream_jobs.shard.process import run_shard

    run_shard(settings, 0)


@pytest.mark.broker
def test_streamed_predictions_equal_those_of_the_library(settings: Settings, tmp_path: Path) -> None:
    whole = phenobarb()
    few = DataSet(whole.name, whole.therapy, whole.patients[:4], whole.remark)
    settings = settings.model_copy(update={"metrics": settings.metrics.model_copy(update={"shard_port": 0})})
    people = anchor(few, settings.pseudonym_key(), settings.platform_clock.event_s())
    shard = multiprocessing.get_context("spawn").Process(target=work, args=(settings,), daemon=True)
    shard.start()
    try:
        streamed = predict_streamed(few, people, settings.kafka, patience_s=200)
    finally:
        shard.terminate()
        shard.join(timeout=20)
        if shard.is_alive():
            os.kill(shard.pid or 0, 9)
    offline = predict_offline(few, people)
    assert sum(len(found) for found in streamed.values()) == few.levels
    for person in people:
        for ours, theirs in zip(streamed[person.patient], offline[person.patient], strict=True):
            assert ours.at == theirs.at
            assert ours.observed == theirs.observed
            # the same arithmetic in batches of other sizes: differences are rounding
            expected = (theirs.population, theirs.median, theirs.low, theirs.high)
            assert (ours.population, ours.median, ours.low, ours.high) == pytest.approx(expected, rel=1e-6)
    figures = performance([p for found in streamed.values() for p in found])
    assert figures.mdape_pct < 40
    plots = draw_plots(few, streamed, tmp_path / "plots")
    assert all(path.stat().st_size > 10_000 for path in plots)
    told = json.loads(json.dumps(summary(few, figures, plots)))
    assert set(told) == {
        *("data_set", "patients", "observations", "mdpe_population_pct", "mdape_population_pct"),
        *("mdpe_pct", "mdape_pct", "coverage90_pct", "plots"),
    }
