"""What the units share when they make elements: the pipeline's end, the metadata, the signatures."""

import hashlib
import os
import threading

import pytest

from guerillabackup.element import BackupType, SourceUrl
from guerillabackup.errors import ConfigError, KeyUnusableError, PipelineError
from guerillabackup.generator.interface import UnitContext
from guerillabackup.pipeline.digest import DigestPipelineElement
from guerillabackup.pipeline.os_process import OSProcessPipelineElement
from guerillabackup.pipeline.run import instantiate_pipeline, run_pipeline
from guerillabackup.storage.memory import MemoryStorage
from guerillabackup.units.making import (
    StoredStream,
    counted,
    describe_part,
    downstream_elements,
    sign_parts,
    stored_stream,
)

URL = SourceUrl("/host/dump")
STORED = StoredStream(hashlib.sha512(b"data").digest(), 4)


@pytest.fixture
def make_context(tmp_path):
    def make(**changes):
        return UnitContext("unit", {}, str(tmp_path), str(tmp_path), MemoryStorage(), lambda: 0.0, **changes)

    return make


@pytest.fixture
def describe(make_context):
    """A part with changed values, in a context with changed ones."""

    def make(context=None, *, url=URL, predecessor=None, **values):
        context = context or make_context()
        handle = context.storage.get_sink_handle(url)
        handle.write(b"data")
        return describe_part(
            context, handle, url, BackupType.FULL, 1_700_000_000, STORED, predecessor=predecessor, **values
        )

    return make


def test_what_came_out_of_a_pipeline_is_told_by_its_digest(tmp_path):
    (tmp_path / "in").write_bytes(b"data")
    source = os.open(tmp_path / "in", os.O_RDONLY)
    target = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        processes = instantiate_pipeline([DigestPipelineElement()], source, target)
        run_pipeline(processes, stall_timeout=60)
    finally:
        os.close(source)
        os.close(target)
    assert stored_stream(processes) == STORED


SWALLOW = OSProcessPipelineElement("sh", ["sh", "-c", "cat > /dev/null"], name="swallow")
CAT = OSProcessPipelineElement("cat", ["cat"])
GPG = OSProcessPipelineElement("sh", ["sh", "-c", "cat; echo end"], name="encrypt")


def store(directory, content: bytes, *elements, has_content=True) -> int:
    (directory / "in").write_bytes(content)
    with open(directory / "in", "rb") as source, open(directory / "out", "wb") as target:
        downstream = counted([*elements, DigestPipelineElement()])
        processes = instantiate_pipeline(downstream, source.fileno(), target.fileno())
        run_pipeline(processes, stall_timeout=60)
    return stored_stream(processes, has_content=has_content).size


@pytest.mark.parametrize(
    "elements", [[SWALLOW], [SWALLOW, CAT], [SWALLOW, GPG], [CAT, SWALLOW], [CAT, SWALLOW, GPG]]
)
def test_a_program_that_makes_nothing_of_content_is_an_error_whatever_its_exit_status(tmp_path, elements):
    with pytest.raises(PipelineError, match="stage swallow ended well, but wrote nothing"):
        store(tmp_path, b"content", *elements)


def test_nothing_may_become_nothing(tmp_path):
    assert store(tmp_path, b"", CAT, CAT, has_content=False) == 0


@pytest.mark.parametrize("elements", [[], [CAT], [CAT, CAT], [CAT, CAT, CAT]])
def test_what_is_counted_is_passed_on_as_it_is(tmp_path, elements):
    content = os.urandom(3_000_000)
    assert store(tmp_path, content, *elements) == len(content)
    assert (tmp_path / "out").read_bytes() == content


def test_what_is_no_pipeline_element_is_refused_before_anything_runs():
    with pytest.raises(ConfigError, match="'gzip' is not a pipeline element"):
        downstream_elements(None, {"GeneralDefaultCompressionElement": "gzip"}, "/keys", None)


def test_a_key_that_cannot_be_found_is_refused_before_anything_runs():
    def find(name):
        raise KeyUnusableError(f"no {name}")

    with pytest.raises(KeyUnusableError, match="no backup"):
        downstream_elements("backup", {}, "/keys", find)


def test_the_metadata_names_predecessor_and_policy_only_where_there_are_any(describe):
    first = describe().metainfo
    assert (first.data_uuid is not None, first.get("Predecessor"), first.get("HandlingPolicy")) == (
        True,
        None,
        None,
    )
    second = describe(predecessor=first.data_uuid, policy="keep", extra={"Note": "x"}).metainfo
    assert second.get("Predecessor") == first.data_uuid
    assert (second.get("HandlingPolicy"), second.get("Note")) == (["keep"], "x")
    assert second.data_uuid != first.data_uuid


def test_the_data_is_signed_where_that_is_wanted(describe, make_context):
    context = make_context(data_signature=lambda descriptor: b"signed " + os.pread(descriptor, 4, 0))
    assert describe(context).metainfo.get("StorageFileSignature") == b"signed data"
    assert describe().metainfo.get("StorageFileSignature") is None


def test_parts_are_signed_at_once_each_for_its_own_source(describe, make_context):
    together = threading.Barrier(2, timeout=60)

    def sign(metainfo, source_url):
        together.wait()
        return metainfo.replace(SourceUrl=str(source_url))

    context = make_context(sign=sign)
    parts = [describe(context), describe(context, url=SourceUrl("/host/dump.members"))]
    signed = sign_parts(context, parts)
    assert [handle for handle, _ in signed] == [part.handle for part in parts]
    assert [str(metainfo.source_url) for _, metainfo in signed] == ["/host/dump", "/host/dump.members"]


def test_without_a_key_parts_are_stored_as_they_are(describe, make_context):
    part = describe()
    assert sign_parts(make_context(), [part]) == [(part.handle, part.metainfo)]


def test_a_signature_that_fails_fails_all_parts(describe, make_context):
    def sign(metainfo, source_url):
        raise KeyUnusableError("expired")

    context = make_context(sign=sign)
    with pytest.raises(KeyUnusableError, match="expired"):
        sign_parts(context, [describe(context)])
