"""Operations on elements of a small storage, whose signatures all count as valid: fixtures and a name."""

import pytest
from sample_source import SampleSource

from guerillabackup.events import ignore_events
from guerillabackup.restore.elements import ElementOperations
from guerillabackup.restore.verify import VerifyRules
from guerillabackup.signature_values import SignatureResult, SignatureStatus
from guerillabackup.storage.registry import open_storage

VALID = SignatureResult(SignatureStatus.VALID, "valid", "F" * 40)
RULES = VerifyRules(lambda metainfo, source_url: VALID)


@pytest.fixture
def storage(tmp_path):
    storage = open_storage(str(tmp_path / "data"), create=True)
    yield storage
    storage.close()


@pytest.fixture
def operations(storage):
    return ElementOperations(storage, RULES, ignore_events)


@pytest.fixture
def make(storage, tmp_path):
    def make(source, kinds=("full",)):
        sample = SampleSource(storage, tmp_path, source=source, compression=None)
        return [sample.store(kind, source.encode(), MetaDataSignature=b"s") for kind in kinds]

    return make


def ids(elements):
    return [str(element.get_element_id()) for element in elements]
