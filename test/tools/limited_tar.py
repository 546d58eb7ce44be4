"""A tar that archives with no more rights than an ordinary user has, also for root."""

import os
import shutil

WITHOUT_RIGHTS = "setpriv --bounding-set=-dac_override,-dac_read_search"
"""Root without the right to read everything: then modes mean for it what they mean for others."""


def limit_tar(directory, monkeypatch):
    """From now on modes decide on what `tar --create` can read; what is unpacked is not limited."""
    programs = directory / "limited"
    programs.mkdir()
    runner = WITHOUT_RIGHTS if os.geteuid() == 0 else "env"
    (programs / "tar").write_text(
        f"#!/bin/sh\nPATH={os.path.dirname(str(shutil.which('tar')))}:$PATH\n"
        f'case "$1" in --create) exec {runner} tar "$@";; esac\nexec tar "$@"\n'
    )
    (programs / "tar").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
