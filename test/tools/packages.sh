#!/bin/sh
# Makes sure that the programs are there which this project needs, from Debian's packages.
#
# usage: packages.sh GROUP...      groups: run test lint debian bench
#
# As root it installs what is missing; as another user it prints the command that does so and exits 1.
# Nothing is asked of the network while nothing is missing.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/python.sh"

# group, what to look for (a program on PATH, or the absolute path of a file, * allowed), package
table() {
    cat <<'TABLE'
run gpg gnupg
run gpg-agent gnupg
run gpgconf gnupg
run tar tar
run zstd zstd
run socat socat
test bzip2 bzip2
test xz xz-utils
test lz4 lz4
test pigz pigz
test gzip gzip
test openssl openssl
test ssh openssh-client
test /usr/sbin/sshd openssh-server
test strace strace
test setfacl acl
test setfattr attr
test mount mount
test /usr/lib/postgresql/*/bin/initdb postgresql
test sqlite3 sqlite3
lint shellcheck shellcheck
debian /usr/lib/python3/dist-packages/click python3-click
debian /usr/lib/python3/dist-packages/gnupg.py python3-gnupg
debian /usr/lib/python3/dist-packages/rich python3-rich
debian /usr/lib/python3/dist-packages/sdnotify python3-sdnotify
debian /usr/lib/python3/dist-packages/pytest python3-pytest
debian /usr/lib/python3/dist-packages/pytest_timeout.py python3-pytest-timeout
debian /usr/lib/python3/dist-packages/xdist python3-pytest-xdist
debian /usr/lib/python3/dist-packages/hypothesis python3-hypothesis
bench restic restic
bench socat socat
bench borg borgbackup
TABLE
}

is_there() {
    case $1 in
        /*)
            for path in $1; do
                if [ -e "$path" ]; then return 0; fi
            done
            return 1
            ;;
        *) command -v "$1" >/dev/null 2>&1 ;;
    esac
}

# Prints the packages that are missing for the groups, each once.
missing() {
    {
        if ! find_python >/dev/null; then
            echo python3
            echo python3-venv
        fi
        table | while read -r group what package; do
            for wanted in "$@"; do
                if [ "$group" = "$wanted" ] && ! is_there "$what"; then echo "$package"; fi
            done
        done
    } | sort -u | tr '\n' ' ' | sed 's/ $//'
}

if [ $# -eq 0 ]; then
    echo "usage: packages.sh GROUP... (run test lint debian bench)" >&2
    exit 2
fi
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
packages=$(missing "$@")
if [ -z "$packages" ]; then exit 0; fi
command="apt-get install --yes --no-install-recommends $packages"
if ! command -v apt-get >/dev/null 2>&1; then
    echo "missing, and there is no apt-get to install it with (Debian's names): $packages" >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "Programs are missing. As root run" >&2
    echo "    $command" >&2
    echo "and then this again." >&2
    exit 1
fi
echo "Installing with apt-get: $packages" >&2
apt() {
    output=$(apt-get -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 --quiet=2 "$@" </dev/null 2>&1) || {
        printf '%s\n' "$output" "apt-get $1 failed" >&2
        exit 1
    }
}
export DEBIAN_FRONTEND=noninteractive
apt update
# One word per package.
# shellcheck disable=SC2086
apt install --yes --no-install-recommends $packages
packages=$(missing "$@")
if [ -n "$packages" ]; then
    echo "still missing after the installation, in Debian's names: $packages" >&2
    echo "(Python has to be 3.11 or newer)" >&2
    exit 1
fi
