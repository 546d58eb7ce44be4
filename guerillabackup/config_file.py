"""One file in Python syntax that an operator wrote: read only when nobody else can write it, then executed.

Whatever the file holds or does, the outcome is names and values, or problems with file and line: never an
exception of somebody else's. Touches: os, exec, warnings, stdout.
"""

import ast
import contextlib
import os
import stat
import sys
import traceback
import warnings
from dataclasses import dataclass, field
from typing import Any

from guerillabackup.config_entry import EntryPath, find_entries, find_line
from guerillabackup.errors import ConfigError, GuerillaBackupError
from guerillabackup.osfile import name_user

MAX_FILE_SIZE = 1 << 20
"""Bytes of a configuration or unit file."""
MAX_MESSAGE_LENGTH = 500

_SCOPES = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Lambda,
    ast.ListComp,
    ast.SetComp,
    ast.DictComp,
    ast.GeneratorExp,
)


@dataclass(frozen=True, slots=True)
class Execution:
    """What came of a file: the lines of names and of entries of dicts, set last, and what went wrong."""

    path: str
    lines: dict[str, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    entries: dict[EntryPath, int] = field(default_factory=dict)

    def where(self, name: str) -> str:
        """`file:line` of a name's last assignment, the file alone where it has none."""
        line = self.lines.get(name)
        return self.path if line is None else f"{self.path}:{line}"

    def where_wrong(self, name: str, problem: str) -> str | None:
        """`file:line` of the entry of a dict that a problem is about; None where that is not known."""
        line = find_line(self.entries, name, problem)
        return None if line is None else f"{self.path}:{line}"


def find_write_permissions(path: str) -> list[str]:
    """Why somebody other than root and the running user could change a file or directory, with the remedy.

    Looks at it, at the directory its name is in and, where the name is a link, at the directory the link
    leads to. Raises OSError when it cannot be looked at.
    """
    real_path = os.path.realpath(path)
    directories = dict.fromkeys((os.path.dirname(os.path.abspath(path)), os.path.dirname(real_path)))
    problems = _permission_problems(path, os.stat(path))
    for directory in directories:
        problems += _permission_problems(directory, os.stat(directory))
    return problems


def read_trusted_file(path: str, limit: int = MAX_FILE_SIZE) -> str:
    """The text of a file that nobody but root and the running user can change; raises ConfigError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {_reason(error)}") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise ConfigError(f"{path}: is not a regular file")
    with open(descriptor, "rb") as stream:
        try:
            # The opened file itself once more: its name may have changed hands since it was opened.
            problems = list(
                dict.fromkeys([*_permission_problems(path, status), *find_write_permissions(path)])
            )
            data = stream.read(limit + 1)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {_reason(error)}") from error
    if problems:
        raise ConfigError(*problems)
    if len(data) > limit:
        raise ConfigError(f"{path}: is longer than {limit} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: is not UTF-8 text: byte {data[error.start]:#04x}") from error
    if "\0" in text:
        raise ConfigError(f"{path}:{text.count(chr(10), 0, text.index(chr(0))) + 1}: holds a NUL byte")
    return text


def execute_file(path: str, namespace: dict[str, Any]) -> Execution:
    """Execute a trusted file in a namespace; what it prints goes to stderr.

    Nothing is raised but KeyboardInterrupt: what went wrong is in the result, and what the file bound before
    that is in the namespace. A loop without end is not noticed.
    """
    try:
        text = read_trusted_file(path)
    except ConfigError as error:
        return Execution(path, {}, error.problems)
    problems: tuple[str, ...] = ()
    lines: dict[str, int] = {}
    entries: dict[EntryPath, int] = {}
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        try:
            tree = ast.parse(text)
            lines, entries = _assigned_lines(tree), find_entries(tree)
            code = compile(text, path, "exec", dont_inherit=True)
            exec(code, namespace)
        except KeyboardInterrupt:
            raise
        except SyntaxError as error:
            problems = (_syntax_problem(path, error),)
        except BaseException as error:  # exit() and whatever else the file came up with
            problems = (_exception_problem(path, error),)
    return Execution(path, lines, problems, entries)


def _assigned_lines(tree: ast.AST) -> dict[str, int]:
    """The last line in which each name of the module is assigned, not counting def, class and import."""
    lines: dict[str, int] = {}
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            lines[node.id] = max(node.lineno, lines.get(node.id, 0))
        todo += [child for child in ast.iter_child_nodes(node) if not isinstance(child, _SCOPES)]
    return lines


def _syntax_problem(path: str, error: SyntaxError) -> str:
    # The error of an import within the file names that other file.
    filename = path if error.filename in (None, "<unknown>") else error.filename
    where = f"{filename}:{error.lineno}" if error.lineno else filename
    return f"{where}: syntax error: {_text(error.msg)}"


def _exception_problem(path: str, error: BaseException) -> str:
    line = None
    for frame, line_number in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename == path:
            line = line_number
    where = path if line is None else f"{path}:{line}"
    if isinstance(error, SystemExit):
        return f"{where}: ends the program, which a configuration must not do"
    # Of these the text says all; of a KeyError, for example, it does not.
    text = _text(error)
    is_clear = isinstance(error, GuerillaBackupError | NameError | ImportError | OSError) and text
    return f"{where}: {text}" if is_clear else f"{where}: {type(error).__name__}: {text}"


def _text(value: object) -> str:
    """A text on one line and of limited length, whatever the value's own code does."""
    try:
        text = str(value)
    except Exception:  # an exception class of the file's own may raise anything
        return "(no text)"
    text = " ".join(text.split())
    return text if len(text) <= MAX_MESSAGE_LENGTH else f"{text[: MAX_MESSAGE_LENGTH - 1]}…"


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or _text(error)


def _permission_problems(path: str, status: os.stat_result) -> list[str]:
    problems = []
    if os.path.islink(path) and stat.S_ISREG(status.st_mode):
        path = os.path.realpath(path)  # whose owner and mode it is
    if status.st_uid not in (0, os.geteuid()):
        remedy = f"take it over with: chown {os.geteuid()} {path}"
        if os.geteuid() == 0 and not stat.S_IMODE(status.st_mode) & 0o022:
            # It would be taken from the service that runs as that user.
            remedy = f"run the command as that user, with: sudo -u {name_user(status.st_uid)} …"
        problems.append(f"{path}: belongs to user {status.st_uid}, neither root nor you; {remedy}")
    if stat.S_IMODE(status.st_mode) & 0o022:
        problems.append(
            f"{path}: others can write it (mode {stat.S_IMODE(status.st_mode):04o}); forbid that with: "
            f"chmod go-w {path}"
        )
    return problems
