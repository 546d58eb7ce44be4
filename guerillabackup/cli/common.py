"""What all commands share: the options every one has, how they write, and their exit statuses.

A command's function is decorated with `shared(example=…)` below its click decorator and gets an `Invocation`
as its first argument; it returns None or an ExitStatus, and raises the errors of errors.py.
Touches: os, resource, sys.
"""

import enum
import errno
import functools
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from guerillabackup.cli.paths import DIRECTORY, FILE
from guerillabackup.command_option import DEFAULT_CONFIG_DIRECTORY
from guerillabackup.errors import ConfigError, GuerillaBackupError, IntegrityError, KeyUnusableError

if TYPE_CHECKING:
    from guerillabackup.config import Configuration
    from guerillabackup.events import EventListener

PROGRAM = "guerillabackup"
CONFIG_DIRECTORY_VARIABLE = "GUERILLABACKUP_CONFIG_DIR"


TABLE_WIDTH = 100
"""Columns of a table that is to fit, where no terminal says how many it has."""
MIN_OPEN_FILES = 256
"""Open files that a process may have at least: pipelines, their pipes and what they wait on."""
_DONE = "what the command had to do before it wrote this is done"
STOPPED = "the command was stopped there"


class OutputError(GuerillaBackupError):
    """Standard output takes nothing more; a reader that has enough is BrokenPipeError instead."""


class ExitStatus(enum.IntEnum):
    """What the program says with its end; the numbers are documented and never change."""

    OK = 0
    ERROR = 1
    USAGE = 2
    SOME_FAILED = 3
    INTEGRITY = 4
    KEY_UNUSABLE = 5
    INTERRUPTED = 130


class Invocation(NamedTuple):
    """One run of a command: what its shared options say, and how it writes.

    Everything on stdout goes through here, so that with `--json` it is one JSON document.
    """

    config_directory: str
    as_json: bool
    debug: bool
    main_file: str | None = None
    """Another main file than `config`, as `gb-transfer-service --Config` takes, with that one's defaults."""

    def configuration(self) -> "Configuration":
        """The main configuration; raises ConfigError with every problem."""
        from guerillabackup.config import load_configuration

        if self.main_file is None:
            return load_configuration(self.config_directory)
        from guerillabackup.original.functions import DEFAULTS

        return load_configuration(self.config_directory, DEFAULTS, main_file=self.main_file)

    def configuration_for(self, storage: str | None) -> "Configuration":
        """The main configuration; only defaults where a storage is named and there is none we may read."""
        if storage is None or self.main_file is not None:
            return self.configuration()
        from guerillabackup.config import default_configuration, find_forbidden, load_configuration_if_any

        forbidden = find_forbidden(self.config_directory)
        if forbidden is None:
            return load_configuration_if_any(self.config_directory)
        self.warn(f"{forbidden}; going on without it: what it says of signing keys is not known")
        return default_configuration(self.config_directory)

    def write_record(self, record: Mapping[str, Any]) -> None:
        """One record: a JSON object, or a line for each of its values."""
        if self.as_json:
            write_text(json_text(record), _DONE)
            return
        from guerillabackup.cli.format import align, plain

        for line in align([(f"{plain(name)}:", plain(value)) for name, value in record.items()]):
            write_text(line, _DONE)

    def write_records(
        self,
        records: Iterable[Mapping[str, Any]],
        columns: Sequence[str],
        *,
        fitting: bool = False,
        padding: int | None = None,
    ) -> None:
        """A list that fits into memory: a JSON array of whole records, or a table of these columns.

        `fitting` makes the table no wider than the terminal, or TABLE_WIDTH where there is none.
        A cell of more than `padding` columns makes no other line longer.
        """
        if self.as_json:
            write_text(json_text(list(records)), _DONE)
            return
        from guerillabackup.cli.format import align, fit, plain

        heading = tuple(column.upper().replace("_", " ") for column in columns)
        rows = [tuple(plain(record.get(column)) for column in columns) for record in records]
        for line in fit([heading, *rows], _find_width()) if fitting else align([heading, *rows], padding):
            write_text(line, _DONE)

    def stream_records(
        self, records: Iterable[Mapping[str, Any]], render: Callable[[Mapping[str, Any]], str]
    ) -> int:
        """A list of any length, written as it comes: a JSON array, or a line `render` makes of each.

        What does not print is escaped in the lines: each record stays on its own.

        Returns how many there were. What `records` raises comes through, after the array was ended.
        """
        count = 0
        if not self.as_json:
            from guerillabackup.cli.format import printable

            for record in records:
                write_text(printable(render(record)), STOPPED)
                count += 1
            return count
        write_text("[", STOPPED, end="")
        try:
            for record in records:
                separator = "\n" if count == 0 else ",\n"
                write_text(separator + json_text(record, indent=None), STOPPED, end="")
                count += 1
        except OutputError:
            raise
        except GuerillaBackupError:
            write_text("\n]", STOPPED)
            raise
        write_text("\n]", _DONE)
        return count

    def say(self, text: str = "") -> None:
        """A line for a reader; nothing with `--json`."""
        if not self.as_json:
            from guerillabackup.cli.format import printable

            write_text(printable(text), _DONE)

    def note(self, text: str) -> None:
        """A line for a reader on stderr, where stdout is another's; nothing with `--json`."""
        if not self.as_json:
            from guerillabackup.cli.format import printable

            click.echo(f"{PROGRAM}: {printable(text)}", err=True)

    def warn(self, text: str) -> None:
        """A line on stderr about what an administrator should look at."""
        from guerillabackup.cli.format import printable

        click.echo(f"{PROGRAM}: warning: {printable(text)}", err=True)

    def progress(self) -> AbstractContextManager["EventListener"]:
        """A listener that shows on stderr how far the work is, when that is a terminal; else a deaf one."""
        from guerillabackup.cli.progress import show_progress

        return show_progress(sys.stderr.isatty() and os.environ.get("TERM") != "dumb")


def shared(*, example: str, takes_file: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Gives a command `--config-dir`, `--json` and `--debug`, and its help the example.

    `example` is one command line, or several lines. The function gets an Invocation first. `takes_file`: it
    has `--config` too, for services that were started with a main file of another name.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def invoke(
            *positional: Any,
            config_dir: str,
            as_json: bool,
            debug: bool,
            config_file: str | None = None,
            **arguments: Any,
        ) -> Any:
            name = None
            if config_file is not None:
                config_dir, name = os.path.split(os.path.abspath(config_file))
            invocation = begin(config_dir, as_json, debug)._replace(main_file=name)
            return function(invocation, *positional, **arguments)

        lines = "".join(f"\n  {line}" for line in example.strip().splitlines())
        text = "\n".join(line.strip() for line in (function.__doc__ or "").strip().splitlines())
        invoke.__doc__ = f"{text}\n\n\b\nExample:{lines}\n"
        decorated: Callable[..., Any] = invoke
        for option in reversed((_CONFIG_FILE, *_SHARED_OPTIONS) if takes_file else _SHARED_OPTIONS):
            decorated = option(decorated)
        return decorated

    return decorate


def begin(config_directory: str, as_json: bool, debug: bool) -> Invocation:
    """What every command does first; raises ConfigError where too few files can be open."""
    from guerillabackup.cli.interrupts import end_in_order

    _set_up_logging(debug)
    end_in_order()
    _require_open_files()
    return Invocation(os.path.abspath(config_directory), as_json, debug)


_CONFIG_FILE = click.option(
    "--config",
    "config_file",
    metavar="FILE",
    type=FILE,
    help="The main file, in place of --config-dir: that of gb-transfer-service --Config FILE.",
)
_SHARED_OPTIONS = (
    click.option(
        "--config-dir",
        metavar="DIR",
        type=DIRECTORY,
        default=DEFAULT_CONFIG_DIRECTORY,
        envvar=CONFIG_DIRECTORY_VARIABLE,
        show_default=True,
        show_envvar=True,
        help="The configuration directory.",
    ),
    click.option(
        "--json",
        "as_json",
        is_flag=True,
        help="Write one JSON document to stdout; moments in it are seconds since 1970 (UTC).",
    ),
    click.option("--debug", is_flag=True, help="Log everything; show the traceback of an error."),
)


def write_text(text: str, consequence: str = "", *, end: str = "\n") -> None:
    """Write to stdout; raises OutputError, with what that means for the command, and BrokenPipeError."""
    try:
        click.echo(text + end, nl=False)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(describe_output_error(error, consequence)) from error


def describe_output_error(error: OSError, consequence: str = "") -> str:
    """Why stdout takes nothing, and what that means."""
    reason = "it is closed" if error.errno == errno.EBADF else str(error.strerror)
    return f"cannot write to standard output: {reason}" + (f"; {consequence}" if consequence else "")


def exit_status_for(error: GuerillaBackupError) -> ExitStatus:
    """The status that tells a caller whose fault it was."""
    if isinstance(error, KeyUnusableError):
        return ExitStatus.KEY_UNUSABLE
    if isinstance(error, IntegrityError):
        return ExitStatus.INTEGRITY
    return ExitStatus.ERROR


def show_error(problem: str) -> None:
    """One problem on one line of stderr, whatever text it came with."""
    from guerillabackup.cli.format import printable

    click.echo(f"{PROGRAM}: error: {printable(problem)}", err=True)


def show_traceback(error: BaseException | None) -> None:
    """Where an error comes from, for --debug: lines of stderr that begin with spaces."""
    import traceback

    from guerillabackup.cli.format import printable

    for line in "".join(traceback.format_exception(error)).splitlines():
        click.echo(f"  {printable(line)}", err=True)


def json_text(value: Any, indent: int | None = 2) -> str:
    """A value as ASCII JSON: bytes as base64, enumerations by value, what else there is by its text."""
    import json

    return json.dumps(value, indent=indent, default=_json_value)


def _json_value(value: object) -> object:
    if isinstance(value, bytes):
        import base64

        return base64.b64encode(value).decode("ascii")
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    return str(value)


def _find_width() -> int:
    wanted = os.environ.get("COLUMNS", "")
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or TABLE_WIDTH
    except (OSError, ValueError):  # no terminal, or no descriptor at all
        return TABLE_WIDTH


def _require_open_files() -> None:
    """Raise a limit that is too low for pipelines; raises ConfigError where that may not be."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= MIN_OPEN_FILES:
        return
    if hard != resource.RLIM_INFINITY and hard < MIN_OPEN_FILES:
        raise ConfigError(
            f"only {hard} files can be open at a time, limit of this process (ulimit -n), "
            f"and at least {MIN_OPEN_FILES} are needed"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (MIN_OPEN_FILES, hard))


def _set_up_logging(debug: bool) -> None:
    """Warnings of the parts go to stderr as lines of ours; everything with `--debug`."""
    import logging

    class StderrHandler(logging.Handler):
        """Asks for stderr at each line: a progress display may have taken its place."""

        def emit(self, record: logging.LogRecord) -> None:
            from guerillabackup.cli.format import printable

            click.echo(f"{PROGRAM}: {record.levelname.lower()}: {printable(record.getMessage())}", err=True)
            if record.exc_info:
                show_traceback(record.exc_info[1])

    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if type(handler).__name__ == "StderrHandler"]:
        root.removeHandler(handler)
    root.addHandler(StderrHandler())
    root.setLevel(logging.DEBUG if debug else logging.WARNING)
    # python-gnupg warns of every exit status of gpg; signature.py turns those into errors that say more.
    logging.getLogger("gnupg").setLevel(logging.DEBUG if debug else logging.CRITICAL)
