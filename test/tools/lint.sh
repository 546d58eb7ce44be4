#!/bin/sh
# Looks at every source without running it: ruff, its format, mypy --strict, shellcheck. Says all, then fails.
set -eu

top=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
cd "$top"
status=0
.venv/bin/ruff check . || status=1
.venv/bin/ruff format --check . || status=1
.venv/bin/mypy || status=1
shellcheck --external-sources --source-path=SCRIPTDIR .ci/run test/tools/*.sh || status=1
exit $status
