"""The digest's element in both spellings."""

from guerillabackup.original.digest import DigestPipelineElement
from guerillabackup.pipeline import digest


def test_it_is_ours_and_hands_out_processes_of_the_original():
    element = DigestPipelineElement()
    assert isinstance(element, digest.DigestPipelineElement)
    assert hasattr(element.getExecutionInstance(None), "getDigestData")
