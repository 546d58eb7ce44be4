"""The digest's pipeline element in both spellings. It joins ours with the adapter of elements."""

from guerillabackup.original.elements import BothSpellings
from guerillabackup.pipeline import digest


class DigestPipelineElement(BothSpellings, digest.DigestPipelineElement):
    """DigestPipelineElement()."""
