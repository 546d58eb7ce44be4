"""The command `guerillabackup`: finds the command group that is asked for, and answers for every error.

Only click and errors.py are imported here (no dataclasses either), and a group's module only when one of its
commands runs: the help page costs what click costs. This is the one place where an error becomes a line on
stderr and an exit status.
It joins the command groups; `COMMANDS` is their table.
"""

import contextlib
import gc
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import click

from guerillabackup.cli.common import (
    PROGRAM,
    ExitStatus,
    OutputError,
    describe_output_error,
    exit_status_for,
    json_text,
    show_error,
    show_traceback,
    write_text,
)
from guerillabackup.errors import ConfigError, GuerillaBackupError

COMPLETION_VARIABLE = "_GUERILLABACKUP_COMPLETE"
GARBAGE_THRESHOLD = 20_000
"""Objects between two searches for garbage in rings: importing makes many objects, and no garbage."""


class LazyCommand(NamedTuple):
    """Where a command group is, and the line the help page has about it."""

    target: str
    short_help: str


COMMANDS = {
    "completion": LazyCommand(
        "guerillabackup.cli.completion:completion", "Print the completion script for a shell."
    ),
    "config": LazyCommand("guerillabackup.cli.config:config", "Check, show and make the configuration."),
    "element": LazyCommand(
        "guerillabackup.cli.element_group:element", "List, show, verify, read and delete elements."
    ),
    "generator": LazyCommand("guerillabackup.cli.generator:generator", "Run the generator units."),
    "key": LazyCommand("guerillabackup.cli.key:key", "Create, list, export and import keys."),
    "restore": LazyCommand(
        "guerillabackup.cli.restore:restore", "Restore SOURCE into a directory, or list what is in it."
    ),
    "transfer": LazyCommand(
        "guerillabackup.cli.transfer:transfer", "Send elements to other hosts, and fetch theirs."
    ),
    "unit": LazyCommand("guerillabackup.cli.unit:unit", "List, enable and disable generator units."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used; their one-line helps stand in COMMANDS."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        lazy = COMMANDS.get(cmd_name)
        if lazy is None:
            return None
        module_name, _, attribute = lazy.target.partition(":")
        command = getattr(importlib.import_module(module_name), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name].short_help) for name in sorted(COMMANDS)])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        names = [name for name in sorted(COMMANDS) if name.startswith(incomplete)]
        items = [CompletionItem(name, help=COMMANDS[name].short_help) for name in names]
        return [*items, *click.Command.shell_complete(self, ctx, incomplete)]


def _print_version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    click.echo(f"{PROGRAM} {_find_version()}")
    ctx.exit()


def _find_version() -> str:
    """The installed package's version, or that of the checkout the package is in."""
    from importlib import metadata

    try:
        return metadata.version(PROGRAM)
    except metadata.PackageNotFoundError:
        import tomllib

        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        try:
            with open(os.path.join(root, "pyproject.toml"), "rb") as stream:
                return str(tomllib.load(stream)["project"]["version"])
        except (OSError, ValueError, KeyError):
            return "of unknown version"


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit statuses: 0 done, 1 error, 2 wrong usage, 3 finished with some sources failed, "
    "4 integrity violated, 5 key missing or unusable, 130 interrupted (Ctrl-C, SIGTERM, SIGHUP).",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and end.",
)
def cli() -> None:
    """Backups made where the data lives, encrypted, signed, chained, and restored from there.

    \b
    Example:
      guerillabackup config init
      guerillabackup generator run --once
      guerillabackup restore /myhost/system/root --to /tmp/restored
    """


def run(arguments: Sequence[str], command: click.Command = cli) -> int:
    """Run one command line and return its exit status; nothing is raised but SystemExit of completion."""
    as_json = _asks_for(arguments, "--json")
    debug = _asks_for(arguments, "--debug")
    try:
        _prepare_output()
        status = _invoke(list(arguments), command)
        _flush(status)
        return status
    except click.exceptions.Exit as request:
        return request.exit_code
    except click.ClickException as error:
        _show_usage(error)
        return _report(error, [error.format_message()], error.exit_code, as_json, debug, shown=True)
    except (KeyboardInterrupt, click.Abort) as error:
        return _report(error, ["interrupted"], int(ExitStatus.INTERRUPTED), as_json, debug)
    except BrokenPipeError:
        # Whoever read our output has enough. Nothing may be flushed into the pipe at exit any more.
        _leave_output()
        return int(ExitStatus.ERROR)
    except OutputError as error:
        _leave_output()
        return _report(error, [str(error)], int(ExitStatus.ERROR), False, debug)
    except GuerillaBackupError as error:
        problems = list(error.problems) if isinstance(error, ConfigError) else []
        return _report(error, problems or [str(error)], int(exit_status_for(error)), as_json, debug)
    except OSError as error:
        return _report_os_error(error, as_json, debug)
    except Exception as error:  # the one place that answers for what nobody expected
        if _came_of_an_interrupt(error):
            return _report(error, ["interrupted"], int(ExitStatus.INTERRUPTED), as_json, debug)
        return _report(error, [_unexpected(error, debug)], int(ExitStatus.ERROR), as_json, debug)


def _came_of_an_interrupt(error: BaseException | None) -> bool:
    """Whether it was raised while an interrupt was being answered, which may come between any two steps."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__context__
    return False


def main() -> None:
    """The program's entry point."""
    start(cli)


def start(command: click.Command, usage_status: int = ExitStatus.USAGE) -> None:
    """Run the process's arguments by a command, and end the process; `usage_status` for wrong ones.

    All threads are joined, all files closed and all output written by now. To take the interpreter apart as
    well would take longer than many a command.
    """
    gc.set_threshold(GARBAGE_THRESHOLD)
    status = run(sys.argv[1:], command)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(usage_status if status == ExitStatus.USAGE else status)


def _invoke(arguments: list[str], command: click.Command) -> int:
    instruction = os.environ.get(COMPLETION_VARIABLE)
    if instruction:
        from click.shell_completion import shell_complete

        return shell_complete(cli, {}, PROGRAM, COMPLETION_VARIABLE, instruction)
    with command.make_context(command.name if command is not cli else PROGRAM, arguments) as context:
        result = command.invoke(context)
    return int(result) if isinstance(result, int) else int(ExitStatus.OK)


def _unexpected(error: Exception, debug: bool) -> str:
    from guerillabackup.unexpected import explain

    hint = "" if debug else f" (run it again with --debug, as in '{PROGRAM} … --debug', to see where)"
    return f"unexpected {type(error).__name__}: {error}{explain(error)}{hint}"


def _flush(status: int) -> None:
    """Write what is left; raises OutputError, and BrokenPipeError."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        text = describe_output_error(error, f"the command itself ended with exit status {status}")
        raise OutputError(text) from error


def _leave_output() -> None:
    """Nothing may be flushed at the end of the program to where nothing can be written."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def _report_os_error(error: OSError, as_json: bool, debug: bool) -> int:
    """One that nobody answered for: one of click's own writing, or an unexpected one."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is not None and trace.tb_frame.f_code is click.echo.__code__:
        _leave_output()
        return _report(error, [describe_output_error(error)], int(ExitStatus.ERROR), False, debug)
    return _report(error, [_unexpected(error, debug)], int(ExitStatus.ERROR), as_json, debug)


def _prepare_output() -> None:
    """What a terminal's encoding cannot show is escaped instead of raising.

    A standard descriptor that is closed would be taken by the next file that is opened, and what is written
    to it would go there: it becomes one that takes nothing (stdout: says so at each write).
    """
    for number, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, flags), True)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _show_usage(error: click.ClickException) -> None:
    """What click says to it, which quotes the arguments."""
    import io

    from guerillabackup.cli.format import printable

    text = io.StringIO()
    error.show(text)
    for line in text.getvalue().splitlines():
        click.echo(printable(line), err=True)


def _asks_for(arguments: Sequence[str], option: str) -> bool:
    """Whether a flag is there; the parser may have failed before it came to it."""
    flags = list(arguments)
    if "--" in flags:
        flags = flags[: flags.index("--")]
    return option in flags


def _report(
    error: BaseException,
    problems: list[str],
    status: int,
    as_json: bool,
    debug: bool,
    *,
    shown: bool = False,
) -> int:
    """Say what went wrong, once per stream that wants to know; hands the status back."""
    if debug:
        show_traceback(error)
    if not shown:
        for problem in problems:
            show_error(problem)
    if as_json:
        document: dict[str, Any] = {
            "error": "; ".join(problems),
            "exit_status": status,
            "kind": type(error).__name__,
        }
        if len(problems) > 1:
            document["problems"] = problems
        write_text(json_text(document))
    return status


if __name__ == "__main__":
    main()
