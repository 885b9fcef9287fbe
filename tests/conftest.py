"""One real broker for the whole run; each test gets topics of its own on it.

jaxtyping with beartype is not switched on for the whole run: beyond shapes, beartype refuses integers where
a float is annotated and protocols that are not runtime-checkable, before our own errors can say what was
expected. For the shapes of one module: `pytest --jaxtyping-packages=dosetwin.twins.models,beartype.beartype`.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings as property_settings

from dosetwin.platform.broker import Broker
from dosetwin.platform.compilation_cache import keep_compilations
from dosetwin.platform.settings import KafkaSettings, Settings
from dosetwin.platform.topic_admin import declare_topics, delete_topics

QUICK_COMPILATION = "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=1"
"""XLA's older emitters and LLVM's -O1: a third to a half of the compilation, as quick a program (measured).

Most of the tests' time is compilation. Sums are rounded in another order than in production, where compiling
is complete; processes that tests start inherit this, so that what is compared bit by bit is compiled alike.
"""


ALONE = ("broker", "browser", "ray")
"""Marks of what takes the machine's one broker, browser or Ray."""


def compile_quickly() -> None:
    """Cheaper programs for the tests, every one of them kept; call before JAX is imported."""
    os.environ["XLA_FLAGS"] = f"{QUICK_COMPILATION} {os.environ.get('XLA_FLAGS', '')}".strip()
    # small ones, too: compiled in each process, and again once caches were emptied (tests/twins/conftest.py)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    keep_compilations()


compile_quickly()
# a deadline of 200 ms an example, which is hypothesis's default, fails on a machine that is busy
property_settings.register_profile("any machine", deadline=None)
property_settings.load_profile("any machine")
_counter = itertools.count()


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For `--dist loadgroup`: a broker, a browser and Ray are not shared, so their tests are one group.

    It comes first, being the longest; every other file is a group of its own, so that what a file has
    compiled is compiled once, and tests that build on the ones before them stay together.
    """

    def is_alone(item: pytest.Item) -> bool:
        return any(item.get_closest_marker(name) for name in ALONE)

    items.sort(key=lambda item: not is_alone(item))
    for item in items:
        item.add_marker(pytest.mark.xdist_group("alone" if is_alone(item) else item.location[0]))


@pytest.fixture(scope="session")
def broker_bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of the session's broker; started when the first test asks for it."""
    broker = Broker(tmp_path_factory.mktemp("broker"), port=0)
    with broker:
        yield broker.bootstrap


@pytest.fixture
def kafka(broker_bootstrap: str) -> Iterator[KafkaSettings]:
    """The session's broker with this test's own topics: 4 partitions, declared, deleted afterwards."""
    settings = KafkaSettings(bootstrap=broker_bootstrap, topic_prefix=f"t{next(_counter)}-", partitions=4)
    declare_topics(settings)
    yield settings
    delete_topics(settings)


@pytest.fixture
def settings(kafka: KafkaSettings, tmp_path: Path) -> Settings:
    """Settings of a run with `kafka`, data and keys in the test's own folder."""
    return Settings(data_dir=tmp_path / "data", kafka=kafka)
