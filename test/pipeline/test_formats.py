import io
import subprocess
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerillabackup.pipeline.compression import METHODS
from guerillabackup.pipeline.formats import MAGIC_SIZE, detect_format


@pytest.mark.parametrize("method", METHODS)
def test_what_a_compressor_writes_is_detected(method):
    written = subprocess.run(METHODS[method].compress[0], input=b"content", capture_output=True)
    assert detect_format(written.stdout) == method


@pytest.mark.parametrize("tar_format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_a_tar_archive_is_detected(tar_format):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tar_format) as archive:
        archive.addfile(tarfile.TarInfo("name"))
    assert detect_format(buffer.getvalue()[:MAGIC_SIZE]) == "tar"


@pytest.mark.parametrize(
    "recipient", [["--hidden-recipient", "good@example.org"], ["-r", "good@example.org"]]
)
@pytest.mark.parametrize("armor", [[], ["--armor"]])
def test_an_encrypted_message_is_detected(keys, recipient, armor):
    arguments = [
        "gpg",
        "--batch",
        "--homedir",
        keys.home,
        "--trust-model",
        "always",
        *armor,
        *recipient,
        "-e",
    ]
    written = subprocess.run(arguments, input=b"content", capture_output=True, check=True)
    assert detect_format(written.stdout) == "gpg"


@pytest.mark.parametrize("data", [b"", b"\x85", b"\xc1\xff", b"hello", b"BZh", b"BZhx", bytes(512), b"\x1f"])
def test_anything_else_is_none(data):
    assert detect_format(data) is None


@given(st.binary(max_size=600))
def test_any_bytes_get_an_answer_that_512_of_them_decide(data):
    assert detect_format(data) == detect_format(data[:MAGIC_SIZE])
