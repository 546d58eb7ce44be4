"""A configuration template of a unit: as it is, and with its examples uncommented."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guerillabackup.config import load_configuration

TEMPLATES = Path(__file__).parents[2] / "etc" / "guerillabackup" / "units"


@dataclass(frozen=True)
class ConfigTemplate:
    """The template of a unit that is configured by `key`, a dict or a list."""

    unit: str
    key: str

    @property
    def text(self) -> str:
        return (TEMPLATES / f"{self.unit}.config.template").read_text()

    @property
    def uncommented(self) -> str:
        """The commented lines that assign or append, and those up to the closing bracket, are examples."""
        return re.sub(
            rf"^# {self.key}(?:\[.*?^# \}}|\.append.*?\)\))$",
            lambda match: re.sub(r"^# ", "", match.group(), flags=re.M),
            self.text,
            flags=re.M | re.S,
        )

    def execute(self, base: Path, text: str) -> Any:
        """What the key is after a configuration of this text."""
        directory = base / "conf"
        directory.mkdir(mode=0o700)
        (directory / "config").write_text("")
        overlay = directory / "Unit.config"
        overlay.write_text(text)
        return load_configuration(str(directory)).overlay(str(overlay))[self.key]
