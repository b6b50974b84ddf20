"""What the operator of a server may set."""

import os
from pathlib import Path

from pydantic import Field

from auricle.config import Settings
from auricle.engine import BATCH

HOUR_S = 3600.0


def usual_state() -> Path:
    """Where the server keeps jobs and uploads, unless told otherwise (XDG base directories)."""
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "auricle"


class ServeSettings(Settings):
    """Everything about one server; the command line sets the part that users ask for."""

    models: dict[str, str] = Field(
        {"english": "english"}, min_length=1, description="name in requests -> bundle"
    )
    host: str = Field("127.0.0.1", description="loopback: nobody else's machine can reach it")
    port: int = Field(8000, ge=0, le=65_535, description="0: any that is free")
    state: Path = Field(default_factory=usual_state, description="folder of jobs and uploads")

    api_keys: tuple[str, ...] = Field((), description="one of them is needed; none: open")
    origins: tuple[str, ...] = Field((), description="other web pages that may call, https://a.b")
    hosts: tuple[str, ...] = Field((), description="names it answers to; empty: the host's own")

    upload_mb: float = Field(100.0, gt=0, le=100_000, description="of a transcription request")
    longest_s: float = Field(2 * HOUR_S, gt=0, le=100 * HOUR_S, description="of its recording")
    job_upload_mb: float = Field(2_000.0, gt=0, le=100_000, description="of a job")
    job_longest_s: float = Field(24 * HOUR_S, gt=0, le=100 * HOUR_S, description="of its recording")
    jobs_waiting: int = Field(1_000, ge=1, le=1_000_000, description="then 429")
    jobs_kept_days: float = Field(7.0, gt=0, le=10_000, description="results, once finished")

    concurrency: int = Field(128, ge=1, le=100_000, description="requests in hand, then 429")
    requests_per_minute: float = Field(0.0, ge=0, le=1e6, description="of one client; 0: any")
    live_sessions: int = Field(8, ge=0, le=10_000, description="live transcriptions at a time")
    upload_gap_s: float = Field(20.0, gt=0, le=3_600, description="longest silence of an upload")
    slowest_bytes_s: float = Field(2_000.0, ge=0, le=1e9, description="pace after the first gap")
    headers_s: float = Field(15.0, gt=0, le=3_600, description="time to send request headers")
    shutdown_s: int = Field(300, ge=0, le=86_400, description="to finish what was accepted")

    threads: int | None = Field(None, ge=1, le=1_024, description="of the graph; None: the cores")
    running: int = Field(2 * BATCH, ge=1, le=1_024, description="requests decoded side by side")
    batch: int = Field(BATCH, ge=1, le=256, description="pieces of any requests run together")
    wait_ms: float = Field(10.0, ge=0, le=10_000, description="a piece waits so long for others")
    batching: bool = Field(True, description="False: every request runs by itself (to compare)")
