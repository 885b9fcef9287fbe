from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

from dosetwin.platform import broker_jars
from dosetwin.platform.broker import HOST, Broker, free_port, port_is_free
from dosetwin.platform.broker_jars import check_jars, jar_folder, missing_jars, pinned_jars, provide_jars
from dosetwin.platform.errors import BrokerError
from dosetwin.platform.java import find_java
from dosetwin.platform.kafka_clients import admin, producer
from dosetwin.platform.settings import KafkaSettings
from dosetwin.platform.topic_admin import declare_topics, topic_states
from dosetwin.platform.topics import ENROLMENTS, partition_of

pytestmark = pytest.mark.broker


def test_the_broker_keeps_its_data_moves_off_a_taken_port_and_starts_afresh(tmp_path: Path) -> None:
    said: list[str] = []
    with Broker(tmp_path, port=free_port(), heap_mb=256) as broker:
        kafka = KafkaSettings(bootstrap=broker.bootstrap, partitions=2)
        declare_topics(kafka, [ENROLMENTS])
        # a session of its own: Ctrl-C in the terminal does not reach it before its clients
        assert broker.pid is not None
        assert os.getsid(broker.pid) != os.getsid(0)
        with pytest.raises(BrokerError, match="another broker") as caught:
            Broker(tmp_path, port=0).start()
        assert f"kill {broker.pid}" in caught.value.remedy
        # the lock is the Java process's, too: it holds where whoever started the broker was killed
        lock = broker._lock
        assert lock is not None
        lock.close()
        with pytest.raises(BrokerError, match="another broker"):
            Broker(tmp_path, port=0).start()
        first_port, pid = broker.port, broker.pid
        assert broker.start() == broker.bootstrap, "starting again is nothing"
    assert not _lives(pid)
    with socket.socket() as squatter:
        squatter.bind((HOST, first_port))
        squatter.listen()
        with Broker(tmp_path, port=first_port, heap_mb=256, announce=said.append) as again:
            assert again.port != first_port
            assert [str(first_port) in words for words in said] == [True]
            kafka = KafkaSettings(bootstrap=again.bootstrap, partitions=2)
            assert [state.state for state in topic_states(kafka, [ENROLMENTS])] == ["as declared"]
    with Broker(tmp_path, port=0, heap_mb=256, fresh=True) as emptied:
        kafka = KafkaSettings(bootstrap=emptied.bootstrap, partitions=2)
        assert [state.state for state in topic_states(kafka, [ENROLMENTS])] == ["missing"]
    assert not (tmp_path / "broker.pid").exists()


def test_a_broker_that_fails_shows_the_end_of_its_log(tmp_path: Path) -> None:
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "meta.properties").write_text("version=1\nnode.id=99\ncluster.id=x\n")
    with pytest.raises(BrokerError) as caught:
        Broker(tmp_path, port=0, heap_mb=256).start()
    assert str(tmp_path / "broker.log") in str(caught.value)
    assert "Stored node id 99" in str(caught.value)
    assert "at kafka.Kafka" not in str(caught.value)
    assert "doctor" in caught.value.remedy
    # the folder is free again
    with Broker(tmp_path, port=0, heap_mb=256, fresh=True) as broker:
        assert broker.pid is not None


def test_a_changed_or_missing_jar_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provide_jars(show_progress=False)
    source = jar_folder()
    monkeypatch.setenv("DOSETWIN_CACHE", str(tmp_path))
    folder = jar_folder()
    folder.mkdir()
    assert len(missing_jars(folder)) == len(pinned_jars()) == 46
    for jar in pinned_jars():
        shutil.copy(source / jar.file_name, folder)
    check_jars(folder)
    assert sum(path.stat().st_size for path in folder.iterdir()) == sum(
        jar.size_bytes for jar in pinned_jars()
    )
    victim = folder / pinned_jars()[7].file_name
    with victim.open("r+b") as file:
        file.seek(1000)
        file.write(b"!")
    with pytest.raises(BrokerError, match=victim.name) as caught:
        Broker(tmp_path / "data", port=0).start()
    assert f"delete {victim}" in caught.value.remedy
    victim.unlink()
    with pytest.raises(BrokerError, match=f"{victim.name} is not in"):
        check_jars(folder)


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOSETWIN_CACHE", str(tmp_path / "here"))
    assert broker_jars.cache_folder() == tmp_path / "here"
    monkeypatch.delenv("DOSETWIN_CACHE")
    assert broker_jars.cache_folder().name == "dosetwin"


def test_ports() -> None:
    port = free_port()
    assert port_is_free(port)
    with socket.socket() as squatter:
        squatter.bind((HOST, port))
        squatter.listen()
        assert not port_is_free(port)


def test_java_is_new_enough() -> None:
    assert int(find_java().version.split(".")[0]) >= 17


def test_kafkas_own_partitioner_agrees_with_ours(kafka: KafkaSettings) -> None:
    writer = producer(kafka, "partitions")
    keys = [f"p-{i:020x}" for i in range(40)] + ["", "ä", "x" * 33]
    sent = {key: writer.send(kafka.topic("doses"), b"x", key=key.encode()) for key in keys}
    found = {key: future.get(30).partition for key, future in sent.items()}
    writer.close()
    assert found == {key: partition_of(key, kafka.partitions) for key in keys}
    assert len(set(found.values())) == kafka.partitions


def test_one_node_needs_one_copy(broker_bootstrap: str) -> None:
    client = admin(KafkaSettings(bootstrap=broker_bootstrap))
    try:
        assert len(client.describe_cluster()["brokers"]) == 1
    finally:
        client.close()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
