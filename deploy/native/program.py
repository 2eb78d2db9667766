"""One supervised process of the stack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Program:
    """What the supervisor needs to know to run one process."""

    name: str
    command: list[str]
    directory: Path
    user: str | None = None
    stop_signal: str = "TERM"
    stop_timeout_s: int = 20
    env: Mapping[str, str] = field(default_factory=dict)
