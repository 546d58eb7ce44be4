"""A configured host with a storage, on which command lines are run within the process."""

import base64
import contextlib
import json
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

    def remember(self, element, settings=""):
        """Have the generator's state say that an element is the last one of its source."""
        config, state = self.path / "etc" / "config", self.path / "state"
        text = f"GeneralPersistencyBaseDir = {str(state)!r}\n{settings}\n"
        config.write_text(config.read_text() + text)
        element_id = element.get_element_id()
        uuid = base64.b64encode(element.get_metadata().data_uuid).decode()
        unit = state / "generators" / "TarBackupUnit"
        unit.mkdir(parents=True)
        source = str(element_id.source_url)
        (unit / "state.current").write_text(json.dumps({source: [1, 2, uuid]}))
        extras = {source: {"LastElement": [str(element_id), uuid]}}
        (unit / "extras.current").write_text(json.dumps(extras))

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
