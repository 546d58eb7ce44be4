#!/bin/sh
# Makes .venv with this project and all it needs, so that .venv/bin/guerillabackup works.
#
# usage: venv.sh      from any directory; PYTHON=/path/to/python chooses the interpreter
#
# Does nothing, and asks nothing of the network, when it is complete and pyproject.toml did not change
# since. One that is broken, was moved, or belongs to another Python than the chosen one is made anew.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
top=$(CDPATH='' cd -- "$here/../.." && pwd)
. "$here/python.sh"
cd "$top"
venv=$top/.venv
stamp=$venv/complete

# One at a time: `make run` and `make test` may be started side by side.
exec 9<pyproject.toml
flock 9

# What the environment was made of, as far as it can be told from what is there now; fails when it is broken.
state() {
    "$venv/bin/python3" -I -c '
import hashlib, os, sys
if os.path.realpath(sys.prefix) != os.path.realpath(sys.argv[1]):
    sys.exit(1)
import click, gnupg, guerillabackup, mypy, pip, pytest, rich, sdnotify
content = open("pyproject.toml", "rb").read()
print(sys.argv[1], sys.version.split()[0], hashlib.sha256(content).hexdigest())
' "$venv" 2>/dev/null
}

# Whether its interpreter runs, is of the right version and the one that was asked for.
is_usable() {
    "$venv/bin/python3" -I -c '
import os, sys
import pip
prefix, chosen = sys.argv[1:]
base = getattr(sys, "_base_executable", None) or sys.executable
scripts = open(os.path.join(prefix, "bin", "pip"), encoding="utf-8").readline()
sys.exit(
    sys.version_info < (3, 11)
    or os.path.realpath(sys.prefix) != os.path.realpath(prefix)
    or prefix not in scripts
    or (chosen != "" and os.path.realpath(chosen) != os.path.realpath(base))
)
' "$venv" "$1" 2>/dev/null
}

chosen=
if [ -n "${PYTHON:-}" ]; then
    chosen=$(find_python)
fi
if [ -f "$stamp" ] && is_usable "$chosen" && [ "$(state)" = "$(cat "$stamp")" ]; then
    exit 0
fi
if ! is_usable "$chosen"; then
    python=$(find_python) || {
        echo "There is no Python 3.11 or newer with its venv module (Debian: python3 python3-venv)." >&2
        exit 1
    }
    echo "Making .venv with $python" >&2
    rm -rf "$venv"
    "$python" -m venv "$venv"
fi
rm -f "$stamp"
echo "Installing what pyproject.toml names into .venv" >&2
"$venv/bin/python3" -m pip --disable-pip-version-check --no-input --quiet --quiet install --use-pep517 --editable '.[dev]' </dev/null
state >"$stamp.new" || {
    echo "the environment in .venv does not work; remove it and try again" >&2
    exit 1
}
mv "$stamp.new" "$stamp"
