"""One source of a TarBackupUnit: what its configuration says, and the tar command for it. No I/O."""

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from guerillabackup.element import BackupType, SourceUrl
from guerillabackup.errors import ConfigError
from guerillabackup.generator.timing import Timing
from guerillabackup.units.settings import (
    SettingParsers,
    SourceList,
    parse_absolute_path,
    parse_command,
    parse_flag,
    parse_key,
    parse_policy,
    parse_settings,
    parse_texts,
    split_by_source,
)

CONFIG_KEY = "TarBackupUnitConfigList"
DEFAULT_EXCLUDE = ("./var/lib/guerillabackup/data",)
"""What is left out of a backup of / that names nothing to leave out."""
MAX_INDEX_PREFIX = 230
"""Characters of an index file's name before `.index.bz2.` and a time; 255 in all."""


class TarSource(NamedTuple):
    """What to back up, when, and how."""

    source_url: SourceUrl
    full_timing: Timing
    inc_timing: Timing | None = None
    root: str = "/"
    include: tuple[str, ...] = (".",)
    exclude: tuple[str, ...] = ()
    ignores_races: bool = False
    pre_command: tuple[str, ...] | None = None
    post_command: tuple[str, ...] | None = None
    full_override: tuple[str, ...] | None = None
    inc_override: tuple[str, ...] | None = None
    keep_indices: int = 0
    policy: str | None = None
    encryption_key: str | tuple[str, ...] | None = None
    left_out: tuple[str, ...] = ()
    """Members to leave out, by their exact names, besides what `exclude` matches."""

    @property
    def index_prefix(self) -> str:
        """What the names of its index files begin with."""
        return self.source_url.text[1:].replace("/", "-")[:MAX_INDEX_PREFIX]

    @property
    def has_index(self) -> bool:
        """Whether its runs make an index for incremental backups to go on from."""
        return self.inc_timing is not None

    def override(self, backup_type: BackupType) -> tuple[str, ...] | None:
        """The command that replaces tar for this type."""
        return self.full_override if backup_type is BackupType.FULL else self.inc_override

    def tar_command(
        self, index_path: str | None, members_descriptor: int, *, tells_moves: bool = False
    ) -> list[str]:
        """GNU tar's argv: the archive to standard output, the members' list to a descriptor.

        `index_path` is the listed-incremental index to use and to change, None without one.
        `tells_moves`: it says which directories it takes for moved.
        """
        command = [
            "tar",
            "--create",
            "--file=-",
            "--format=posix",
            "--sparse",
            "--xattrs",
            "--acls",
            "--numeric-owner",
            "--verbose",
            "--verbose",
            "--full-time",
            "--utc",
            "--quoting-style=c",
            "--warning=no-new-directory",
            f"--index-file=/dev/fd/{members_descriptor}",
        ]
        if not tells_moves:
            command.append("--warning=no-rename-directory")
        if self.ignores_races:
            command.append("--ignore-failed-read")
        if index_path is not None:
            command.append(f"--listed-incremental={index_path}")
        command.append(f"--directory={self.root}")
        command += [f"--exclude={pattern}" for pattern in self.exclude]
        if self.left_out:
            # Neither --wildcards nor --no-wildcards: with an index, they make tar leave out directories.
            command += ["--anchored", *(f"--exclude={_escape(name)}" for name in self.left_out)]
        return [*command, "--", *self.include]


def parse_sources(value: object) -> list[TarSource]:
    """All sources of a TarBackupUnitConfigList; raises ConfigError with every problem."""
    return split_sources(value).check()


def split_sources(value: object) -> SourceList[TarSource]:
    """The sources whose settings are right, and the others; raises ConfigError for no such dict."""
    listed = split_by_source(value, CONFIG_KEY, _parse_source)
    refused = {**listed.refused, **_shared_indices(listed.sources)}
    sources = (source for source in listed.sources if source.source_url not in refused)
    return replace(listed, sources=tuple(sources), refused=refused)


def _parse_source(source_url: SourceUrl, settings: Mapping[Any, Any]) -> TarSource:
    values, problems = parse_settings(settings, _SETTINGS)
    if settings.get("FullBackupTiming") is None:
        problems.append(
            "FullBackupTiming is not set; weekly: 'FullBackupTiming': [590400, 619200, 604800, 0]"
        )
    if values.get("full_override") is None:
        problems += _outside_root(values.get("include", ()), values.get("root", "/"))
    if problems:
        raise ConfigError(*problems)
    if "exclude" not in values and values.get("root", "/") == "/":
        values["exclude"] = DEFAULT_EXCLUDE
    return TarSource(source_url=source_url, **values)


def _outside_root(include: Sequence[str], root: str) -> list[str]:
    """What tar would take from elsewhere than below the root, without a word."""
    problems = []
    for member in include:
        place = posixpath.normpath(posixpath.join(root, member))
        below = posixpath.relpath(place, root)
        if ".." in member.split("/"):
            remedy = f"write {_member(below)!r}" if not below.startswith("..") else "choose a Root above it"
            problems.append(f"Include: {member!r} has '..' and means {place}: {remedy}")
        elif member.startswith("/") and posixpath.normpath(root).strip("/"):
            inside = not below.startswith("..")
            remedy = (
                f"write {_member(below)!r}" if inside else "set Root to '/', or give it a source of its own"
            )
            problems.append(f"Include: {member!r} is not taken as below Root {root!r}: {remedy}")
    return problems


def _member(below: str) -> str:
    return below if below == "." else f"./{below}"


def find_idle_excludes(source: TarSource) -> list[str]:
    """Why patterns of Exclude never match anything, so that what they mean is backed up."""
    if source.full_override is not None:
        return []
    reason = "never matches, because names begin as those of Include do and end without '/'"
    found = []
    for pattern in source.exclude:
        better = pattern if pattern in DEFAULT_EXCLUDE else _matching_pattern(pattern, source)
        if better is None:
            found.append(f"Exclude: {pattern!r} never matches: nothing of Include is there; leave it out")
        elif better != pattern:
            found.append(f"Exclude: {pattern!r} {reason}; write {better!r}")
    return found


def _matching_pattern(pattern: str, source: TarSource) -> str | None:
    """The same pattern where it can match, else one that can and is likely meant; None: there is none.

    tar compares a pattern with a name, and with what is behind each '/' of the name.
    """
    text = pattern.rstrip("/") or pattern
    if text.startswith("/") and not any(member.startswith("/") for member in source.include):
        root = posixpath.normpath(source.root).strip("/")
        below = text.strip("/")
        if root and (below == root or below.startswith(f"{root}/")):
            below = below[len(root) :].strip("/")
    elif text.startswith("./") and not any(member.startswith(".") for member in source.include):
        below = text.removeprefix("./")
    else:
        return text
    for member in source.include:
        inside = posixpath.normpath(member)
        if inside in (".", below) or below.startswith(f"{inside}/"):
            begins_so = inside == "." or member.startswith("./")
            return f"./{below}" if begins_so else below
    return None


def _shared_indices(sources: Sequence[TarSource]) -> dict[SourceUrl, ConfigError]:
    """Two sources with one index file would leave files out of each other's incremental backups."""
    owners: dict[str, TarSource] = {}
    refused: dict[SourceUrl, ConfigError] = {}
    for source in sources:
        other = owners.setdefault(source.index_prefix, source)
        if other is not source:
            error = ConfigError(
                f"sources {other.source_url} and {source.source_url} of one unit would share the index file"
                f" {source.index_prefix}.index: put one of them into a unit of its own"
            )
            refused[source.source_url] = refused[other.source_url] = error
    return refused


def _escape(name: str) -> str:
    """A tar pattern that matches just this name."""
    return re.sub(r"[\\*?\[]", r"\\\g<0>", name)


def _members(value: object) -> tuple[str, ...]:
    texts = parse_texts(value)
    if not texts:
        raise ConfigError("it is empty: there would be nothing to back up")
    if not all(texts):
        raise ConfigError(f"{value!r} has an empty path")
    return texts


def _keep_count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not -1 <= value <= 1_000_000:
        raise ConfigError(f"{value!r} is not a whole number from -1 (all) to 1000000")
    return value


_SETTINGS: SettingParsers = {
    "PreBackupCommand": ("pre_command", parse_command),
    "PostBackupCommand": ("post_command", parse_command),
    "Root": ("root", parse_absolute_path),
    "Include": ("include", _members),
    "Exclude": ("exclude", parse_texts),
    "IgnoreBackupRaces": ("ignores_races", parse_flag),
    "FullBackupTiming": ("full_timing", Timing.parse),
    "IncBackupTiming": ("inc_timing", Timing.parse),
    "FullOverrideCommand": ("full_override", parse_command),
    "IncOverrideCommand": ("inc_override", parse_command),
    "KeepIndices": ("keep_indices", _keep_count),
    "Policy": ("policy", parse_policy),
    "EncryptionKey": ("encryption_key", parse_key),
}

SETTING_NAMES = tuple(_SETTINGS)
"""What a source's settings can be, to the letter."""
