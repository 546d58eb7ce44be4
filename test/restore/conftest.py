"""A configuration, its storage and keyrings, made once for the tests of a restore."""

import pytest
from element_operations import make, operations, storage  # noqa: F401 - fixtures
from sample_source import SampleSource, gpg_home

from guerillabackup.config import load_configuration
from guerillabackup.element import SourceUrl
from guerillabackup.restore.service import RestoreRequest, RestoreService
from guerillabackup.signature import Keyring, sign_metainfo
from guerillabackup.storage.registry import open_storage


class House:
    """A host's directories below tmp_path: configuration, storage, work; and how to restore there."""

    def __init__(self, path):
        self.path = path
        self.storage = open_storage(str(path / "data"), create=True)
        (path / "etc").mkdir(mode=0o700)
        self.configure()

    def configure(self, text=""):
        setting = f"DefaultFileSystemSinkBaseDir = {str(self.path / 'data')!r}\n"
        (self.path / "etc" / "config").write_text(setting + text)

    def source(self, **options):
        source = SampleSource(self.storage, self.path, **options)
        source.tree.mkdir(exist_ok=True)
        return source

    def service(self, **options):
        return RestoreService(load_configuration(str(self.path / "etc")), **options)

    def restore(
        self,
        target="out",
        *,
        source="/host/tree",
        private_keyring=None,
        passphrase_file=None,
        accept_unverified=False,
        **request,
    ):
        options = {
            "private_keyring": private_keyring,
            "passphrase_file": passphrase_file,
            "accept_unverified": accept_unverified,
        }
        with self.service(**options) as service:
            return service.restore(RestoreRequest(SourceUrl(source), str(self.path / target), **request))


@pytest.fixture
def house(tmp_path):
    house = House(tmp_path)
    yield house
    house.storage.close()


@pytest.fixture(scope="session")
def private_home():
    """A gpg home with the secret key `backup`."""
    with gpg_home(("backup", "default")) as home:
        yield home


@pytest.fixture(scope="session")
def signing_home():
    """A keyring with the signing keys `signing` and `stranger`."""
    with gpg_home(("signing", "sign"), ("stranger", "sign")) as home:
        yield home


@pytest.fixture
def signer(signing_home):
    """Makes the `sign` of a sample source for a key name."""
    with Keyring(signing_home) as keyring:
        yield lambda key: lambda metainfo, source_url: sign_metainfo(keyring, key, metainfo, source_url)
