"""Elements in both spellings."""

import pytest

import guerillabackup
from guerillabackup.errors import ConfigError
from guerillabackup.original.elements import (
    AdoptedElement,
    GpgEncryptionPipelineElement,
    OSProcessPipelineElement,
    OSProcessPipelineExecutionInstance,
    TransformationPipelineElementInterface,
    adapt_elements,
    element_for_original,
    element_for_ours,
)
from guerillabackup.pipeline import gpg, os_process
from guerillabackup.pipeline.compression import CompressionPipelineElement
from guerillabackup.pipeline.run import default_downstream

BZIP2 = ("/bin/bzip2", ["/bin/bzip2", "-c9"])


class Foreign:
    """An element that derives from nothing, made of the original's execution instance."""

    def __init__(self, key="none"):
        self.key = key

    def getExecutionInstance(self, upstreamProcessOutput):
        return OSProcessPipelineExecutionInstance(*BZIP2, upstreamProcessOutput)

    def replaceKey(self, newKeyName):
        return Foreign(newKeyName)


def test_elements_written_for_the_original_become_ours_in_a_configuration():
    plain = {"GeneralDefaultCompressionElement": OSProcessPipelineElement(*BZIP2), "Other": 1}
    assert adapt_elements(plain) is plain
    adapted = adapt_elements({"GeneralDefaultEncryptionElement": Foreign(), "Other": 1})
    assert isinstance(adapted["GeneralDefaultEncryptionElement"], AdoptedElement)
    assert adapted["Other"] == 1
    assert element_for_original(adapted["GeneralDefaultEncryptionElement"]).key == "none"


def test_the_spellings_of_an_element_follow_from_each_other():
    class Ours(guerillabackup.TransformationPipelineElementInterface):
        def get_execution_instance(self, upstream_process_output):
            return CompressionPipelineElement("bzip2").get_execution_instance(upstream_process_output)

    class Neither(guerillabackup.TransformationPipelineElementInterface):
        pass

    assert Ours().getExecutionInstance(None).ours.name in ("bzip2", "lbzip2", "pbzip2")
    with pytest.raises(ConfigError, match="Neither defines no getExecutionInstance"):
        Neither().get_execution_instance(None)
    assert element_for_ours("text") == "text"
    assert issubclass(
        TransformationPipelineElementInterface, guerillabackup.TransformationPipelineElementInterface
    )


def test_the_elements_of_a_configuration_take_the_originals_arguments_and_are_ours():
    element = guerillabackup.OSProcessPipelineElement("/bin/cat", ["/bin/cat"], [0, 1])
    assert isinstance(element, os_process.OSProcessPipelineElement)
    assert element.allowed_exit_statuses == {0, 1}
    encryption = guerillabackup.GpgEncryptionPipelineElement("some key", ["/usr/bin/gpg", "--encrypt"])
    assert isinstance(encryption, gpg.GpgEncryptionPipelineElement)
    assert encryption.get_arguments()[-2:] == ("--hidden-recipient", "some key")
    other = encryption.replaceKey("other")
    assert (other.keys, other.argv) == (("other",), ("/usr/bin/gpg", "--encrypt"))
    assert "--throw-keyids" in GpgEncryptionPipelineElement.gpgDefaultCallArguments


def test_the_key_of_an_element_of_a_sites_own_is_replaced_by_its_own_method():
    class Own(TransformationPipelineElementInterface):
        key = "first"

        def replaceKey(self, newKeyName):
            self.key = newKeyName
            return self

        def getExecutionInstance(self, upstreamProcessOutput):
            return OSProcessPipelineExecutionInstance(*BZIP2, upstreamProcessOutput)

    for element in (Own(), element_for_ours(Foreign())):
        encryption, _ = default_downstream(None, element, "second", "/keys")
        assert element_for_original(encryption).key == "second"
    with pytest.raises(ConfigError, match="the key of Plain cannot be replaced by 'second'"):
        default_downstream(
            None, type("Plain", (TransformationPipelineElementInterface,), {})(), "second", "/keys"
        )
