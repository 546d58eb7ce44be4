#!/bin/sh
# Runs the test suite. What follows is handed to pytest.
#
# usage: test.sh venv|debian [PYTEST ARGUMENTS...]
#
# venv: with .venv, what the Python Package Index gives today.
# debian: with Debian's /usr/bin/python3 and Debian's packages alone, nobody's own beside them.
set -eu

top=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
cd "$top"
which=$1
shift
case $which in
    venv)
        set -- .venv/bin/python3 -m pytest -n auto "$@"
        ;;
    debian)
        unset PYTHONHOME VIRTUAL_ENV
        PYTHONPATH=$top
        PYTHONNOUSERSITE=1
        PATH=/usr/sbin:/usr/bin:/sbin:/bin
        export PYTHONPATH PYTHONNOUSERSITE PATH
        set -- /usr/bin/python3 -m pytest -n auto -p no:cacheprovider "$@"
        ;;
    *)
        echo "usage: test.sh venv|debian [PYTEST ARGUMENTS...]" >&2
        exit 2
        ;;
esac
exec "$@" </dev/null
