# shellcheck shell=sh
# Read by the other scripts: which Python to use.

# Prints the absolute path of a Python of at least 3.11 that can make virtual environments; fails when
# there is none. What PYTHON names comes first, then the system's, which every user can run: one in somebody's
# home makes an environment that is of no use to others. Then what `python3` is, then the newest. Version
# managers put names on PATH that only fail when they are run, so each one is run and tells where it really is.
find_python() {
    for candidate in ${PYTHON:+"$PYTHON"} /usr/bin/python3 python3 python3.14 python3.13 python3.12 python3.11; do
        command -v "$candidate" >/dev/null 2>&1 || continue
        "$candidate" -I -c '
import sys
if sys.version_info < (3, 11):
    sys.exit(1)
import ensurepip, venv
print(getattr(sys, "_base_executable", None) or sys.executable)
' 2>/dev/null && return 0
    done
    return 1
}
