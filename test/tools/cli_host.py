"""A configured host with a storage, on which command lines are run within the process."""

import contextlib
import logging
import os
from unittest import mock

from sample_source import SampleSource

from guerillabackup.cli.main import run
from guerillabackup.storage.registry import open_storage


class Host:
    """Calling it runs a command line: its exit status, standard output and standard error."""

    def __init__(self, path, capfd):
        self.path = path
        self.storage = open_storage(str(path / "data"), create=True)
        self._capfd = capfd
        (path / "etc").mkdir(mode=0o700)
        (path / "etc" / "config").write_text(f"DefaultFileSystemSinkBaseDir = {str(path / 'data')!r}\n")

    def source(self, **options):
        """A source with one file, `etc/passwd`."""
        source = SampleSource(self.storage, self.path, **options)
        (source.tree / "etc").mkdir(parents=True, exist_ok=True)
        (source.tree / "etc" / "passwd").write_text("root")
        return source

    def data_path(self, element):
        """The file with an element's data."""
        return self.path / "data" / f"{str(element.get_element_id())[1:]}.data"

    def __call__(self, *arguments):
        self._capfd.readouterr()
        status = run([str(argument) for argument in arguments])
        captured = self._capfd.readouterr()
        return status, captured.out, captured.err


@contextlib.contextmanager
def configured_host(path, capfd):
    """A Host below a directory, for as long as the context lasts."""
    handlers = list(logging.getLogger().handlers)
    host = Host(path, capfd)
    try:
        with mock.patch.dict(os.environ, {"GUERILLABACKUP_CONFIG_DIR": str(path / "etc")}):
            yield host
    finally:
        host.storage.close()
        logging.getLogger().handlers[:] = handlers
