"""Settings in one place: defaults < TOML file < DOSETWIN_* environment < command-line flags.

Nested names join with two underscores in the environment: DOSETWIN_KAFKA__BOOTSTRAP=host:9092.
The TOML file is `dosetwin.toml` in the working folder, or the path in DOSETWIN_SETTINGS.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from dosetwin.platform.clock import PlatformClock
from dosetwin.platform.errors import SettingsError
from dosetwin.platform.signing import Signer, Verifier, load_or_create_key

Port = Annotated[int, Field(ge=0, le=65535)]


class Section(BaseModel):
    """A table of the settings; unknown names are errors, so that a typo is not silent."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class KafkaSettings(Section):
    """How to reach the cluster, and how topics are named and split."""

    bootstrap: str = Field("127.0.0.1:9092", description="host:port[,host:port...] of the cluster")
    topic_prefix: str = Field("", description="put before every topic and group name")
    partitions: int = Field(8, ge=1, le=1024, description="partitions of every topic")
    replication: int = Field(1, ge=1, le=7, description="copies of each partition")

    def topic(self, name: str) -> str:
        """A topic's full name on the cluster."""
        return self.topic_prefix + name

    def group(self, name: str) -> str:
        """A consumer group's or transactional id's full name on the cluster."""
        return f"{self.topic_prefix}dosetwin-{name}"


class BrokerSettings(Section):
    """The single-node broker that `dosetwin broker` runs."""

    port: Port = Field(9092, description="client port; a free one is taken when this is in use")
    heap_mb: int = Field(512, ge=256, description="-Xmx of the broker")


class ClockSettings(Section):
    """The platform clock; see dosetwin.platform.clock."""

    speed: float = Field(1.0, gt=0, description="event seconds a wall second")
    wall_anchor_s: float = 0.0
    event_anchor_s: float = 0.0


class ShardSettings(Section):
    """The hot path."""

    count: int = Field(2, ge=1, description="shards to run")
    batch_records: int = Field(2000, ge=1, description="most records a turn takes")
    poll_ms: int = Field(20, ge=1, description="how long a turn waits for records")
    snapshot_interval_s: float = Field(15.0, gt=0, description="wall seconds between snapshots of a chunk")
    chunk_patients: int = Field(64, ge=1, description="twins in a snapshot chunk")
    warm_up: tuple[str, ...] = Field(
        ("t1d-insulin", "vancomycin"), description="therapies whose programs are compiled at the start"
    )
    proposal_expires_s: float = Field(1800.0, gt=0, description="event seconds a proposal waits for a person")
    fall_behind_records: int = Field(20_000, ge=1, description="lag above which scoring waits")
    future_tolerance_s: float = Field(300.0, ge=0, description="how far ahead of now a reading may be")


class ControlSettings(Section):
    """The control app: watchdogs and escalation, in event seconds."""

    unanswered_s: float = Field(120.0, gt=0, description="a command unanswered this long raises an alert")
    silent_factor: float = Field(4.0, gt=1, description="intervals without a reading that are silence")
    escalate_s: tuple[float, ...] = Field((120.0, 300.0, 600.0), description="steps after raising")
    escalate_to: tuple[str, ...] = ("buddy nurse", "charge nurse", "physician")
    acknowledged_high_s: float = 900.0
    acknowledged_medium_s: float = 3600.0


class DashboardSettings(Section):
    """The Streamlit view."""

    port: Port = 8501
    address: str = "127.0.0.1"
    person: str = Field("demo clinician", description="who acts, until a login is configured")
    role: str = "physician"


class MetricsSettings(Section):
    """Prometheus endpoints on loopback; 0 takes a free port and says which."""

    address: str = "127.0.0.1"
    shard_port: Port = 9464
    control_port: Port = 9474
    fleet_port: Port = 9475
    dashboard_port: Port = 9476


class Settings(BaseSettings):
    """Everything that can be set. Frozen: a process reads it once, at its start."""

    model_config = SettingsConfigDict(
        env_prefix="DOSETWIN_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    data_dir: Path = Field(Path(".dosetwin"), description="broker data, keys, inboxes, logs, caches")
    kafka: KafkaSettings = KafkaSettings()
    broker: BrokerSettings = BrokerSettings()
    clock: ClockSettings = ClockSettings()
    shards: ShardSettings = ShardSettings()
    control: ControlSettings = ControlSettings()
    dashboard: DashboardSettings = DashboardSettings()
    metrics: MetricsSettings = MetricsSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags (init) over environment over TOML over defaults."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, settings_file())

    @property
    def platform_clock(self) -> PlatformClock:
        """The clock that these settings describe."""
        return PlatformClock(self.clock.speed, self.clock.wall_anchor_s, self.clock.event_anchor_s)

    def pseudonym_key(self) -> bytes:
        """The enrolment service's secret; made at first use under data_dir/keys."""
        return load_or_create_key(self.data_dir / "keys" / "pseudonym.hex")

    def command_signer(self) -> Signer:
        """Signs commands (the shards)."""
        return Signer(load_or_create_key(self.data_dir / "keys" / "commands.hex"))

    def command_verifier(self) -> Verifier:
        """Checks commands (the devices)."""
        return Verifier(self.command_signer().public_key)

    def action_signer(self) -> Signer:
        """Signs what people do (the dashboard)."""
        return Signer(load_or_create_key(self.data_dir / "keys" / "actions.hex"))

    def action_verifier(self) -> Verifier:
        """Checks what people did (the shards and the control app)."""
        return Verifier(self.action_signer().public_key)

    def environment(self) -> dict[str, str]:
        """These settings as DOSETWIN_* variables, for child processes."""
        variables: dict[str, str] = {}
        for name, value in self.model_dump(mode="json").items():
            if isinstance(value, dict):
                for inner, setting in value.items():
                    variables[f"DOSETWIN_{name}__{inner}".upper()] = _text(setting)
            else:
                variables[f"DOSETWIN_{name}".upper()] = _text(value)
        return variables


def settings_file() -> Path:
    """The TOML file that is read: DOSETWIN_SETTINGS, else dosetwin.toml in the working folder."""
    return Path(os.environ.get("DOSETWIN_SETTINGS", "dosetwin.toml"))


def load_settings(**flags: Any) -> Settings:
    """The effective settings; `flags` are the command line's, nested as dictionaries, None = not given."""
    given = os.environ.get("DOSETWIN_SETTINGS")
    if given and not Path(given).is_file():
        raise SettingsError(f"DOSETWIN_SETTINGS names {given}, which is no file", remedy="fix or unset it")
    try:
        return Settings(**_without_none(flags))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']} (found {problem['input']!r})"
            for problem in error.errors()
        )
        raise SettingsError(
            f"settings do not hold: {problems}",
            remedy="correct the flag, the DOSETWIN_* variable or the line in "
            f"{settings_file()}; `dosetwin doctor` prints the effective settings",
        ) from error


def _without_none(flags: dict[str, Any]) -> dict[str, Any]:
    cleaned: dict[str, Any] = {}
    for name, value in flags.items():
        if isinstance(value, dict):
            inner = _without_none(value)
            if inner:
                cleaned[name] = inner
        elif value is not None:
            cleaned[name] = value
    return cleaned


def _text(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value)
