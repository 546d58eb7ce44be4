"""Where in a file an entry of a dict is set, so that what is wrong with it has its own line. No I/O."""

import ast
from collections.abc import Iterator, Mapping

EntryPath = tuple[str, ...]
"""Name of a dict, key of an entry, and where that is a dict too the key of one of its entries."""

_MAX_DEPTH = 3


def find_entries(tree: ast.AST) -> dict[EntryPath, int]:
    """The last line in which each entry is set by a literal or by `NAME['key'] = …`; others are not known."""
    lines: dict[EntryPath, int] = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign):
            continue
        for target in node.targets:
            path = _path_of(target)
            if path is None:
                continue
            if len(path) > 1:
                _note(lines, path, target.lineno)
            for inner, line in _literal_entries(node.value, path):
                _note(lines, inner, line)
    return lines


def find_line(entries: Mapping[EntryPath, int], name: str, problem: str) -> int | None:
    """The line of what a problem of the dict is about, as far as its words tell: `source KEY: SETTING: …`."""
    best: tuple[int, int] | None = None
    for path, line in entries.items():
        if path[0] == name and len(path) > 1 and _is_about(problem, path[1:]):
            best = max(best or (0, 0), (len(path), line))
    return None if best is None else best[1]


def _is_about(problem: str, keys: EntryPath) -> bool:
    key, *settings = keys
    beginning = f"source {key}: "
    if not problem.startswith(beginning):
        return not settings and repr(key) in problem
    rest = problem.removeprefix(beginning)
    return all(
        rest.startswith((f"{setting}: ", f"unknown setting {setting!r}", f"{setting} "))
        for setting in settings
    )


def _path_of(target: ast.expr) -> EntryPath | None:
    keys: list[str] = []
    while isinstance(target, ast.Subscript):
        if not isinstance(target.slice, ast.Constant) or not isinstance(target.slice.value, str):
            return None
        keys.insert(0, target.slice.value)
        target = target.value
    if not isinstance(target, ast.Name) or len(keys) >= _MAX_DEPTH:
        return None
    return (target.id, *keys)


def _literal_entries(value: ast.expr, path: EntryPath) -> Iterator[tuple[EntryPath, int]]:
    if not isinstance(value, ast.Dict) or len(path) >= _MAX_DEPTH:
        return
    for key, inner in zip(value.keys, value.values, strict=True):
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            yield (*path, key.value), key.lineno
            yield from _literal_entries(inner, (*path, key.value))


def _note(lines: dict[EntryPath, int], path: EntryPath, line: int) -> None:
    lines[path] = max(line, lines.get(path, 0))
