from __future__ import annotations

from pathlib import Path

import pytest

from dosetwin.platform.errors import SettingsError
from dosetwin.platform.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No dosetwin.toml and no DOSETWIN_* of the machine."""
    import os

    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("DOSETWIN_")]:
        monkeypatch.delenv(name)


def test_flags_over_environment_over_file_over_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def partitions() -> int:
        return load_settings().kafka.partitions

    assert partitions() == 8
    (tmp_path / "dosetwin.toml").write_text('[kafka]\npartitions = 12\nbootstrap = "file:1"\n')
    assert partitions() == 12
    monkeypatch.setenv("DOSETWIN_KAFKA__PARTITIONS", "16")
    assert partitions() == 16
    effective = load_settings(kafka={"partitions": 20})
    assert effective.kafka.partitions == 20
    # one table's settings come from every source at once
    assert effective.kafka.bootstrap == "file:1"
    assert effective.kafka.replication == 1


def test_a_flag_that_was_not_given_does_not_hide_the_file(tmp_path: Path) -> None:
    (tmp_path / "dosetwin.toml").write_text('[kafka]\nbootstrap = "file:1"\n')
    assert load_settings(kafka={"bootstrap": None}, data_dir=None).kafka.bootstrap == "file:1"


def test_the_file_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other.toml").write_text("[clock]\nspeed = 60.0\n")
    monkeypatch.setenv("DOSETWIN_SETTINGS", str(tmp_path / "other.toml"))
    assert load_settings().clock.speed == 60.0
    monkeypatch.setenv("DOSETWIN_SETTINGS", str(tmp_path / "gone.toml"))
    with pytest.raises(SettingsError, match=r"gone\.toml"):
        load_settings()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("[kafka]\npartitons = 3\n", "kafka.partitons"),
        ("[clock]\nspeed = 0\n", "clock.speed"),
        ("[broker]\nport = 70000\n", "broker.port"),
        ("nonsense = 1\n", "nonsense"),
    ],
)
def test_a_wrong_setting_is_named_with_what_was_found(tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / "dosetwin.toml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert name in str(caught.value)
    assert caught.value.remedy


def test_a_child_process_gets_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    parent = load_settings(
        kafka={"bootstrap": "a:1,b:2", "topic_prefix": "x-"}, clock={"speed": 60.0, "wall_anchor_s": 1.5}
    )
    for name, value in parent.environment().items():
        monkeypatch.setenv(name, value)
    assert load_settings() == parent


def test_keys_are_paths_and_never_settings(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    key = settings.pseudonym_key()
    assert key.hex() not in repr(settings)
    assert key.hex() not in repr(settings.environment())
    signed_by = settings.command_signer().key_id
    assert signed_by == settings.command_signer().key_id
    assert signed_by != settings.action_signer().key_id
