"""The laws of the house, checked from the sources themselves: who imports whom, what a module says of itself.

`breaches` takes a whole package as texts, so the checker is tested with small houses that break one law each.
"""

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import pytest

PACKAGE = "guerillabackup"
TREE = Path(__file__).parent.parent / PACKAGE

SAYS = "A module's docstring says that it decides (`No I/O.`), touches (`Touches: os.`), or joins the two."
DECIDES = "A `No I/O.` module imports only such modules."
TOUCHES = "A module that touches the world names each module it touches it by, and no other."
JOINS = (
    "A module that joins imports at least two of ours, and one of them touches; else it decides, or touches."
)
INTERFACE = (
    "Another part is entered by its `interface`; only service.py, units/* and cli/* wire parts together."
)
CONFIGURATION = "Only service.py, units/* and cli/* read configuration: everyone else gets plain values."
DOWNWARD = "Direction, downward only: cli, then service.py and units/*, then the parts, then the kernel."
REGISTRY = "Only wiring chooses an implementation: service.py, units/* and cli/* import a registry."
INIT = "`__init__.py` holds a docstring; the package's own adds one lazy `__getattr__`."
# Configuration files see the package under its name: config binds it, and imports it for that.
ORIGINAL = "Nothing else depends on original/: the package hands it on, only wiring applies its adapters."
LIBRARY = "A library is imported by its one module only; click by cli/ only."
ABSOLUTE = "Imports are absolute."
PRINT = "No print outside cli/."
LENGTH = "A file has at most 400 lines."
SPELLING = "An interface method's docstring ends its first line with the seed's spelling of its own name."

KERNEL = ("errors", "element", "events", "osfile", "signature", "config")
"""Each may import those before it, no other; `config_keys` is of the family `config`."""
WIRING_ROOMS = ("cli", "units")
# fmt: off
WORLD = frozenset((
    "asyncio", "ctypes", "fcntl", "ftplib", "glob", "grp", "http", "mmap", "multiprocessing", "os", "pathlib",
    "pty", "pwd", "resource", "select", "selectors", "shutil", "signal", "smtplib", "socket", "socketserver",
    "sqlite3", "ssl", "subprocess", "sysconfig", "tempfile", "termios", "time", "tty", "urllib",
))
"""Modules of Python's own by which the world is touched; `Touches:` names them."""
UNDECIDED = WORLD | {"concurrent", "importlib", "queue", "random", "secrets", "sys", "threading", "uuid"}
"""What a module that only decides has no use for."""
# fmt: on
UNNAMED = frozenset(("click",))
"""The frame of every command need not be named by each."""
MAX_LINES = 400


@dataclass(frozen=True)
class Breach:
    """A law and where it was broken."""

    law: str
    where: str

    def __str__(self) -> str:
        return f"{self.law}\n    {self.where}"


@dataclass(frozen=True)
class Module:
    """One source file; `rooms` are the steps to it: ("storage", "naming"), ("cli", "__init__")."""

    rooms: tuple[str, ...]
    text: str

    @property
    def path(self) -> str:
        return "/".join((PACKAGE, *self.rooms)) + ".py"

    @property
    def part(self) -> str | None:
        if self.rooms == ("__main__",):
            return "cli"  # where Python wants it, and as much a command as those
        return self.rooms[0] if len(self.rooms) > 1 else None

    @property
    def name(self) -> str:
        return self.rooms[-1]

    @property
    def family(self) -> str:
        return self.name.split("_")[0]

    @property
    def is_init(self) -> bool:
        return self.name == "__init__"

    @property
    def wires(self) -> bool:
        return self.part in WIRING_ROOMS or (self.part is not None and self.name == "service")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def kind(self) -> str | None:
        """'decides', 'touches', 'joins', or None when the docstring does not say."""
        for ending in self._endings():
            if ending.endswith("No I/O."):
                return "decides"
            if re.search(r"\bTouches: [^.]+\.$", ending):
                return "touches"
        joins = any(re.search(r"\b[Jj]oin(s|ed)?\b", ending.split(". ")[-1]) for ending in self._endings())
        return "joins" if joins else None

    @property
    def touched(self) -> set[str]:
        """The names after `Touches:`."""
        for ending in self._endings():
            if match := re.search(r"\bTouches: ([^.]+)\.$", ending):
                return {name.strip() for name in match[1].split(",")}
        return set()

    def _endings(self) -> Iterator[str]:
        """The last and the first paragraph: one of them ends with what the module is."""
        paragraphs = re.split(r"\n\s*\n", ast.get_docstring(self.tree) or "")
        for paragraph in (paragraphs[-1], paragraphs[0]):
            yield " ".join(paragraph.split())


class House:
    """The modules of a package and what each imports."""

    def __init__(self, files: Mapping[str, str]) -> None:
        modules = [Module(tuple(path.removesuffix(".py").split("/")), text) for path, text in files.items()]
        self.modules = {module.rooms: module for module in modules}
        self._imports: dict[tuple[str, ...], tuple[set[tuple[str, ...]], set[str]]] = {}

    def imports(self, module: Module) -> tuple[set[tuple[str, ...]], set[str]]:
        """The rooms of ours it imports, and the names of other top-level modules."""
        if module.rooms in self._imports:
            return self._imports[module.rooms]
        ours, others = set(), set()
        for name in _imported_names(module.tree):
            first, *rest = name.split(".")
            if first == PACKAGE:
                ours.add(self._room(tuple(rest)))
            elif first not in ("", "__future__"):
                others.add(first)
        self._imports[module.rooms] = ours - {module.rooms}, others
        return self._imports[module.rooms]

    def _room(self, steps: tuple[str, ...]) -> tuple[str, ...]:
        """The module that the steps lead to; a name that the package hands on is one of original/names."""
        for length in range(len(steps), 0, -1):
            if steps[:length] in self.modules:
                return steps[:length]
            if (*steps[:length], "__init__") in self.modules:
                return (*steps[:length], "__init__")
        is_module = steps and steps[0].islower()
        return steps[:1] if is_module else ("original", "names")


def _imported_names(tree: ast.Module) -> Iterator[str]:
    """Dotted names of all that is imported, wherever in the file it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module or ''}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (argument.value for argument in node.args[:1] if isinstance(argument, ast.Constant))


def breaches(files: Mapping[str, str]) -> list[Breach]:
    """Every law that the package of these sources breaks; paths are relative to it."""
    house = House(files)
    found = list(_library_breaches(house))
    for module in house.modules.values():
        found.extend(_form_breaches(module))
        if not module.is_init:
            found.extend(_kind_breaches(house, module))
            found.extend(_direction_breaches(house, module))
    return found


def _form_breaches(module: Module) -> Iterator[Breach]:
    lines = module.text.count("\n")
    if lines > MAX_LINES:
        yield Breach(LENGTH, f"{module.path} has {lines}")
    if module.is_init and not _is_plain_init(module):
        yield Breach(INIT, module.path)
    for node in ast.walk(module.tree):
        where = f"{module.path}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.ImportFrom) and node.level > 0:
            yield Breach(ABSOLUTE, where)
        is_print = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        if is_print and module.part != "cli":
            yield Breach(PRINT, where)
        if isinstance(node, ast.FunctionDef) and module.name == "interface":
            spelling = re.search(r"\(([a-z]\w*)\)$", (ast.get_docstring(node) or "").split("\n")[0])
            if spelling and spelling[1].lower() != node.name.replace("_", ""):
                yield Breach(SPELLING, f"{where} {node.name} is not {spelling[1]}")


def _is_plain_init(module: Module) -> bool:
    body = module.tree.body
    if not body or ast.get_docstring(module.tree) is None:
        return False
    if module.part is not None:
        return len(body) == 1
    return all(isinstance(node, ast.FunctionDef) and node.name == "__getattr__" for node in body[1:])


def _kind_breaches(house: House, module: Module) -> Iterator[Breach]:
    ours, others = house.imports(module)
    kinds = {house.modules[room].kind for room in ours if room in house.modules}
    foreign = {name for name in others if name not in sys.stdlib_module_names}
    world = (others & WORLD) | foreign - UNNAMED
    match module.kind:
        case None:
            yield Breach(SAYS, module.path)
        case "decides":
            for room in sorted(ours):
                if room not in house.modules or house.modules[room].kind != "decides":
                    yield Breach(DECIDES, f"{module.path} imports {'.'.join(room)}")
            for name in sorted((others & UNDECIDED) | foreign):
                yield Breach(DECIDES, f"{module.path} imports {name}")
        case "touches":
            for name in sorted(world - module.touched):
                yield Breach(TOUCHES, f"{module.path} imports {name}, which its docstring does not name")
            for name in sorted((module.touched & WORLD) - others):
                yield Breach(TOUCHES, f"{module.path} names {name}, which it does not import")
        case "joins":
            touches = world | foreign or kinds & {"touches", "joins"}
            if len(ours) < 2 or not touches:
                yield Breach(JOINS, module.path)


def _direction_breaches(house: House, module: Module) -> Iterator[Breach]:
    for room in sorted(house.imports(module)[0]):
        law = _direction_law(module, Module(room, ""))
        if law is not None:
            yield Breach(law, f"{module.path} imports {'.'.join(room)}")


def _direction_law(module: Module, target: Module) -> str | None:
    """The law that is broken when `module` imports `target`."""
    if module.part == "original":
        return DOWNWARD if target.part == "cli" else None
    if target.part == "original":
        is_bound = module.part is None and module.family == "config" and target.name == "names"
        return None if is_bound or (module.wires and target.name != "names") else ORIGINAL
    if module.part is None:
        below, own = (KERNEL.index(one.family) if one.family in KERNEL else -1 for one in (target, module))
        return None if target.part is None and 0 <= below <= own else DOWNWARD
    if target.part is None and target.family == "config":
        return None if module.wires else CONFIGURATION
    if target.part is None:
        return None
    if target.part == "cli":
        return None if module.part == "cli" else DOWNWARD
    if target.part == "units" or target.name == "service":
        return None if module.wires else DOWNWARD
    if target.name == "registry":
        return None if module.wires else REGISTRY
    if target.part != module.part and target.name != "interface" and not module.wires:
        return INTERFACE
    return None


def _library_breaches(house: House) -> Iterator[Breach]:
    users: dict[str, list[Module]] = {}
    for module in house.modules.values():
        for name in house.imports(module)[1] - sys.stdlib_module_names:
            users.setdefault(name, []).append(module)
    for name, modules in sorted(users.items()):
        paths = ", ".join(sorted(module.path for module in modules))
        is_kept = all(module.part == "cli" for module in modules) if name == "click" else len(modules) == 1
        if not is_kept:
            yield Breach(LIBRARY, f"{name} is imported by {paths}")


@cache
def package_breaches() -> list[Breach]:
    return breaches(
        {str(path.relative_to(TREE)): path.read_text("utf-8") for path in sorted(TREE.rglob("*.py"))}
    )


LAWS = [
    value for name, value in globals().items() if name.isupper() and isinstance(value, str) and " " in value
]


@pytest.mark.parametrize("law", LAWS)
def test_the_house_keeps_the_law(law):
    broken = [breach for breach in package_breaches() if breach.law == law]
    assert not broken, "\n" + "\n".join(str(breach) for breach in broken)


SOUND = {
    "__init__.py": '"""The package."""\n\n\ndef __getattr__(name):\n    raise AttributeError(name)\n',
    "errors.py": '"""The exceptions. No I/O."""\n',
    "osfile.py": '"""The hand on the file system.\n\nTouches: os.\n"""\n\nimport os\n',
    "config.py": '"""The configuration. Touches: os."""\n\nimport os\nimport guerillabackup.errors\n',
    "storage/__init__.py": '"""Keeps elements."""\n',
    "storage/interface.py": '"""What. No I/O."""\n\nfrom guerillabackup.errors import StorageError\n',
    "storage/files.py": '"""Files. Touches: os, time."""\n\nimport os\nimport time\n'
    "from guerillabackup.storage.interface import StorageInterface\n",
    "storage/registry.py": '"""Joins names with storages."""\n\nimport guerillabackup.storage.files\n'
    "from guerillabackup.storage.interface import StorageInterface\n",
    "generator/__init__.py": '"""Makes elements."""\n',
    "generator/timing.py": '"""When. No I/O."""\n\nimport guerillabackup.errors\n',
    "generator/service.py": '"""Joins it with a storage."""\n\nfrom guerillabackup.config import load\n'
    "from guerillabackup.generator.timing import is_due\nimport guerillabackup.storage.registry\n"
    "import guerillabackup.original.adapters\n",
    "original/__init__.py": '"""Names."""\n',
    "original/names.py": '"""Names. Touches: importlib."""\n\nimport guerillabackup.storage.files\n',
    "original/adapters.py": '"""Adapters. No I/O."""\n',
    "cli/__init__.py": '"""Commands."""\n',
    "cli/generator.py": '"""The command. Touches: stdout."""\n\nimport click\n'
    "from guerillabackup.generator import service\n\nprint(service)\n",
}
BROKEN = [
    (SAYS, "generator/timing.py", '"""When units are due."""\n'),
    (SAYS, "generator/timing.py", "import re\n"),
    (DECIDES, "generator/timing.py", '"""When. No I/O."""\n\nimport time\n'),
    (DECIDES, "generator/timing.py", '"""When. No I/O."""\n\nfrom os import path\n'),
    (DECIDES, "generator/timing.py", '"""When. No I/O."""\n\nimport gnupg\n'),
    (DECIDES, "storage/interface.py", '"""What. No I/O."""\n\nfrom guerillabackup.osfile import read_file\n'),
    (
        DECIDES,
        "storage/interface.py",
        '"""What. No I/O."""\n\n\ndef f():\n    import guerillabackup.osfile\n',
    ),
    (DECIDES, "storage/interface.py", '"""What. No I/O."""\n\nfrom guerillabackup import osfile\n'),
    (TOUCHES, "storage/files.py", '"""Files. Touches: os."""\n\nimport os\nimport socket\n'),
    (TOUCHES, "storage/files.py", '"""Files. Touches: os, socket."""\n\nimport os\n'),
    (TOUCHES, "storage/files.py", '"""Files. Touches: os."""\n\nimport os\nimport gnupg\n'),
    (
        JOINS,
        "storage/registry.py",
        '"""Joins."""\nimport guerillabackup.errors, guerillabackup.storage.interface\n',
    ),
    (
        JOINS,
        "storage/registry.py",
        '"""Joins names with storages."""\n\nimport guerillabackup.storage.files\n',
    ),
    (
        INTERFACE,
        "generator/state.py",
        '"""S. Touches: -."""\nfrom guerillabackup.storage.files import Files\n',
    ),
    (INTERFACE, "generator/state.py", '"""S. Touches: -."""\nfrom guerillabackup.storage import files\n'),
    (INTERFACE, "generator/state.py", '"""S. Touches: -."""\nimport guerillabackup.storage.files as f\n'),
    (CONFIGURATION, "generator/state.py", '"""S. Touches: -."""\nfrom guerillabackup.config import load\n'),
    (REGISTRY, "generator/state.py", '"""S. Touches: -."""\nimport guerillabackup.storage.registry\n'),
    (REGISTRY, "storage/files.py", '"""S. Touches: -."""\nimport guerillabackup.storage.registry\n'),
    (DOWNWARD, "errors.py", '"""The exceptions. No I/O."""\n\nimport guerillabackup.element\n'),
    (DOWNWARD, "osfile.py", '"""O. Touches: -."""\nimport guerillabackup.storage.interface\n'),
    (DOWNWARD, "osfile.py", '"""O. Touches: -."""\nimport guerillabackup.config\n'),
    (DOWNWARD, "storage/files.py", '"""S. Touches: -."""\nimport guerillabackup.cli.generator\n'),
    (DOWNWARD, "storage/files.py", '"""S. Touches: -."""\nimport guerillabackup.generator.service\n'),
    (DOWNWARD, "generator/service.py", '"""S. Touches: -."""\nimport guerillabackup.cli.generator\n'),
    (
        INIT,
        "storage/__init__.py",
        '"""Keeps elements."""\n\nfrom guerillabackup.storage.files import Files\n',
    ),
    (INIT, "storage/__init__.py", ""),
    (INIT, "__init__.py", '"""The package."""\n\nfrom guerillabackup.errors import StorageError\n'),
    (ORIGINAL, "storage/files.py", '"""S. Touches: -."""\nimport guerillabackup.original.adapters\n'),
    (ORIGINAL, "storage/files.py", '"""S. Touches: -."""\nfrom guerillabackup import Transfer\n'),
    (ORIGINAL, "generator/service.py", '"""S. Touches: -."""\nimport guerillabackup.original.names\n'),
    (LIBRARY, "storage/files.py", '"""S. Touches: click."""\nimport click\n'),
    (ABSOLUTE, "storage/files.py", '"""S. Touches: -."""\nfrom . import interface\n'),
    (PRINT, "storage/files.py", '"""S. Touches: -."""\nprint("stored")\n'),
    (LENGTH, "storage/files.py", '"""S. Touches: -."""\n' + "\n" * 400),
    (SPELLING, "storage/interface.py", '"""N. No I/O."""\n\n\ndef get_data():\n    """It. (fetchData)"""\n'),
]


def test_a_sound_house_breaks_no_law():
    assert breaches(SOUND) == []


@pytest.mark.parametrize(("law", "path", "text"), BROKEN)
def test_a_broken_law_is_found_and_named_with_its_place(law, path, text):
    found = breaches({**SOUND, path: text})
    assert [breach for breach in found if breach.law == law and path in breach.where], found


def test_a_library_imported_by_two_modules_breaks_its_law():
    texts = {f"storage/{name}.py": '"""S. Touches: zmq."""\nimport zmq\n' for name in ("one", "two")}
    assert [breach.law for breach in breaches({**SOUND, **texts})] == [LIBRARY]


def test_every_law_is_seen_to_be_broken_by_an_example():
    assert {law for law, _, _ in BROKEN} == set(LAWS)
