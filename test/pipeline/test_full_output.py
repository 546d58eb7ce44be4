"""The error of an output that takes no more says where that is."""

import errno
import os
import re
import subprocess
import sys

import pytest

from guerillabackup.errors import StorageError, StorageFullError
from guerillabackup.pipeline.full_output import raise_output_error

FULL = """
import os, subprocess, sys
from guerillabackup.errors import StorageFullError
from guerillabackup.pipeline.digest import DigestPipelineElement
from guerillabackup.pipeline.os_process import OSProcessPipelineElement
from guerillabackup.pipeline.run import instantiate_pipeline, run_pipeline
from guerillabackup.storage.default_file import DefaultFileStorage
from guerillabackup.element import SourceUrl
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", sys.argv[1]], check=True)
storage = DefaultFileStorage(sys.argv[1])
with storage.get_sink_handle(SourceUrl("/host/a")) as handle:
    processes = instantiate_pipeline(
        [OSProcessPipelineElement("yes", ["yes"]), DigestPipelineElement()], None, handle.get_sink_stream())
    try:
        run_pipeline(processes, stall_timeout=30)
    except StorageFullError as error:
        print(error)
"""


def test_a_full_storage_is_named_with_what_is_free(tmp_path):
    namespace = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    command = [*namespace, sys.executable, "-c", FULL, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert re.fullmatch(
        r"stage digest: cannot write the output: No space left on device; "
        + re.escape(str(tmp_path))
        + r"\S* is full, or a quota is used up, with \d+ bytes and \d+ names free: make room there\n",
        result.stdout,
    )


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG])
def test_of_what_is_no_file_and_of_other_errors_there_is_nothing_to_add(number):
    read_end, write_end = os.pipe()
    with pytest.raises(StorageError) as caught:
        raise_output_error(OSError(number, "it is so"), write_end)
    os.close(read_end)
    os.close(write_end)
    assert str(caught.value) == "cannot write the output: it is so"
    assert isinstance(caught.value, StorageFullError) is (number == errno.ENOSPC)
