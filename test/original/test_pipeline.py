"""The functions that join and run elements."""

import bz2
import hashlib
import os
import zlib

import pytest

import guerillabackup
from guerillabackup.errors import ConfigError, GuerillaBackupError, PipelineError
from guerillabackup.original.elements import (
    OSProcessPipelineElement,
    OSProcessPipelineExecutionInstance,
    element_for_ours,
)
from guerillabackup.original.pipeline import (
    NullProcessOutputStream,
    TransformationProcessOutputStream,
    getDefaultDownstreamPipeline,
    instantiateTransformationPipeline,
    runTransformationPipeline,
)
from guerillabackup.pipeline.compression import CompressionPipelineElement

CONTENT = b"a line of a log\n" * 5000
BZIP2 = ("/bin/bzip2", ["/bin/bzip2", "-c9"])


class Foreign:
    """An element that derives from nothing, made of the original's execution instance."""

    def __init__(self, key="none"):
        self.key = key

    def getExecutionInstance(self, upstreamProcessOutput):
        return OSProcessPipelineExecutionInstance(*BZIP2, upstreamProcessOutput)

    def replaceKey(self, newKeyName):
        return Foreign(newKeyName)


def test_a_units_pipeline_reads_a_file_and_hands_out_its_digest(tmp_path):
    (tmp_path / "log").write_bytes(CONTENT)
    source = os.open(tmp_path / "log", os.O_RDONLY)
    upstream = TransformationProcessOutputStream(source)
    context = {"GeneralDefaultCompressionElement": OSProcessPipelineElement(*BZIP2)}
    elements = getDefaultDownstreamPipeline(context, None)
    with (tmp_path / "out").open("wb") as target:
        instances = instantiateTransformationPipeline(elements, upstream, target.fileno(), doStartFlag=True)
        runTransformationPipeline(instances)
    stored = (tmp_path / "out").read_bytes()
    assert bz2.decompress(stored) == CONTENT
    assert instances[-1].getDigestData() == hashlib.sha512(stored).digest()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(source)


def test_a_failing_program_fails_the_run(tmp_path):
    element = OSProcessPipelineElement("/bin/sh", ["/bin/sh", "-c", "exit 3"])
    accepting = OSProcessPipelineElement("/bin/sh", ["/bin/sh", "-c", "exit 3"], [0, 3])
    with (tmp_path / "out").open("wb") as target:
        with pytest.raises(PipelineError, match="exit status 3"):
            runTransformationPipeline(
                instantiateTransformationPipeline([element], None, target.fileno(), doStartFlag=True)
            )
        runTransformationPipeline(
            instantiateTransformationPipeline([accepting], None, target.fileno(), doStartFlag=True)
        )


def test_what_cannot_be_started_leaves_nothing_running(tmp_path):
    missing = OSProcessPipelineElement("/no/such", ["/no/such"])
    with (tmp_path / "out").open("wb") as target, pytest.raises(ConfigError, match="/no/such"):
        instantiateTransformationPipeline(
            [OSProcessPipelineElement("sleep", ["sleep", "600"]), missing], None, target.fileno(), True
        )
    with pytest.raises(ConfigError, match="without an output stream"):
        instantiateTransformationPipeline([missing], None, None, True)


@pytest.mark.parametrize("element", [Foreign(), CompressionPipelineElement("bzip2")])
def test_any_element_joins_the_default_pipeline(tmp_path, element):
    (tmp_path / "in").write_bytes(CONTENT)
    elements = getDefaultDownstreamPipeline({"GeneralDefaultCompressionElement": element}, None)
    source = TransformationProcessOutputStream(os.open(tmp_path / "in", os.O_RDONLY))
    with (tmp_path / "out").open("wb") as target:
        runTransformationPipeline(instantiateTransformationPipeline(elements, source, target.fileno(), True))
    assert bz2.decompress((tmp_path / "out").read_bytes()) == CONTENT


def test_a_key_replaces_that_of_the_configured_encryption():
    class Context(dict):
        keys_directory = "/here/keys"
        find_encryption_key = None

    context = Context(
        GeneralDefaultCompressionElement=CompressionPipelineElement("gzip"),
        GeneralDefaultEncryptionElement=guerillabackup.GpgEncryptionPipelineElement("first"),
    )
    for _ in range(2):  # nothing is added to what later calls use
        compression, encryption, digest = getDefaultDownstreamPipeline(context, "second")
        arguments = element_for_ours(encryption).get_arguments()
        assert arguments[-2:] == ("--hidden-recipient", "second")
        assert arguments.count("--compress-algo") == 1
        assert "/here/keys" in arguments
        assert hasattr(compression, "getExecutionInstance")
        assert hasattr(digest, "getExecutionInstance")
    assert element_for_ours(encryption.replaceKey("third")).keys == ("third",)
    with pytest.raises(ConfigError, match="cannot be replaced by 'key'"):
        compression.replaceKey("key")
    foreign = getDefaultDownstreamPipeline({"GeneralDefaultEncryptionElement": Foreign()}, "own")[0]
    assert foreign.key == "own"


def test_an_encryption_key_alone_asks_for_encryption():
    encryption, _ = getDefaultDownstreamPipeline({}, "key")
    assert "/etc/guerillabackup/keys" in element_for_ours(encryption).get_arguments()


def test_outputs_that_a_unit_makes_itself():
    null = NullProcessOutputStream()
    assert (null.getOutputStreamDescriptor(), null.readData(1), null.close()) == (None, None, None)
    read_end, write_end = os.pipe()
    output = TransformationProcessOutputStream(read_end)
    assert output.readData(10) == b""
    os.write(write_end, zlib.compress(b"x"))
    os.close(write_end)
    with pytest.raises(GuerillaBackupError, match="not read"):
        output.close()
    output.close()
    with pytest.raises(ConfigError, match="not a file descriptor"):
        TransformationProcessOutputStream("3")
