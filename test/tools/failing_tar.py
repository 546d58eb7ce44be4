"""A tar that unpacks, then says that something went wrong, as on a bad or full disk."""

import os
import shlex
import shutil


def failing_tar(directory, monkeypatch, *lines):
    """From now on tar unpacks, says these lines on its standard error and ends with 2."""
    programs = directory / "programs"
    programs.mkdir()
    said = "".join(f"echo {shlex.quote(f'tar: {line}')} >&2\n" for line in lines)
    (programs / "tar").write_text(f'#!/bin/sh\n{shutil.which("tar")} "$@"\n{said}exit 2\n')
    (programs / "tar").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
