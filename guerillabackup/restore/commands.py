"""Commands that messages name, with the options that this one was called with. No I/O."""

import shlex
from dataclasses import dataclass

from guerillabackup.command_option import DEFAULT_CONFIG_DIRECTORY, config_dir_option
from guerillabackup.element import SourceUrl


@dataclass(frozen=True, slots=True)
class Commands:
    """What was named, None, empty or the default for what was not."""

    config_directory: str = DEFAULT_CONFIG_DIRECTORY
    storage: str | None = None
    private_keyrings: tuple[str, ...] = ()

    def verify(self, source_url: SourceUrl) -> str:
        return self._join("verify", [str(source_url), *self._keyring_words()])

    def list_all(self) -> str:
        return self._join("list", [])

    def list_long(self, source_url: SourceUrl) -> str:
        return self._join("list", [str(source_url), "--long"])

    @property
    def import_words(self) -> str:
        """What has to be added to a command that imports into the keyring of the configuration."""
        return config_dir_option(self.config_directory)

    def _keyring_words(self) -> list[str]:
        return [word for each in self.private_keyrings for word in ("--private-keyring", each)]

    def _join(self, name: str, words: list[str]) -> str:
        storage = [] if self.storage is None else ["--storage", self.storage]
        return shlex.join(["guerillabackup", "element", name, *words, *storage]) + self.import_words


NO_OPTIONS = Commands()
