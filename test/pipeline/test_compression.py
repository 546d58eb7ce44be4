import os
import shutil

import pytest

from guerillabackup.errors import ConfigError, IntegrityError, UnreadInputError
from guerillabackup.pipeline.compression import METHODS, CompressionPipelineElement, decompression_element
from guerillabackup.pipeline.run import instantiate_pipeline, run_pipeline

CONTENT = b"".join(b"line %d of the content\n" % number for number in range(50_000)) + os.urandom(300_000)


def transform(directory, data: bytes, *elements) -> bytes:
    (directory / "in").write_bytes(data)
    with open(directory / "in", "rb") as source, open(directory / "out", "wb") as target:
        run_pipeline(instantiate_pipeline(elements, source.fileno(), target.fileno()), stall_timeout=30)
    return (directory / "out").read_bytes()


@pytest.mark.parametrize("method", METHODS)
def test_what_is_compressed_comes_back_as_it_was(tmp_path, method):
    compressed = transform(tmp_path, CONTENT, CompressionPipelineElement(method))
    assert len(compressed) < len(CONTENT)
    assert transform(tmp_path, compressed, decompression_element(method)) == CONTENT


@pytest.mark.parametrize("method", METHODS)
def test_the_highest_and_lowest_level_work(tmp_path, method):
    for level in (METHODS[method].lowest, METHODS[method].highest):
        compressed = transform(tmp_path, CONTENT[:10_000], CompressionPipelineElement(method, level))
        assert transform(tmp_path, compressed, decompression_element(method)) == CONTENT[:10_000]


@pytest.mark.parametrize("method", METHODS)
def test_nothing_compresses_to_something_that_is_nothing_again(tmp_path, method):
    compressed = transform(tmp_path, b"", CompressionPipelineElement(method))
    assert transform(tmp_path, compressed, decompression_element(method)) == b""


@pytest.mark.parametrize("method", METHODS)
def test_a_cut_stream_is_damage(tmp_path, method):
    compressed = transform(tmp_path, CONTENT, CompressionPipelineElement(method))
    with pytest.raises(IntegrityError):
        transform(tmp_path, compressed[:-1000], decompression_element(method))


@pytest.mark.parametrize("method", METHODS)
def test_a_changed_stream_is_damage(tmp_path, method):
    compressed = bytearray(transform(tmp_path, CONTENT, CompressionPipelineElement(method)))
    for position in range(len(compressed) // 2, len(compressed) // 2 + 20):
        compressed[position] ^= 0xFF
    with pytest.raises(IntegrityError):
        transform(tmp_path, bytes(compressed), decompression_element(method))


@pytest.mark.parametrize("method", METHODS)
def test_what_never_was_compressed_is_damage(tmp_path, method):
    with pytest.raises(IntegrityError):
        transform(tmp_path, b"something else\n" * 100, decompression_element(method))


@pytest.fixture(params=["all", "gzip", "pigz"])
def _programs(request, tmp_path, monkeypatch):
    """Whichever of the programs for gzip is installed."""
    if request.param == "all":
        return
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in {"bzip2", "xz", "zstd", "lz4", request.param}:
        (programs / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(programs))


@pytest.mark.usefixtures("_programs")
@pytest.mark.parametrize("method", METHODS)
def test_streams_one_behind_the_other_are_one(tmp_path, method):
    compress = CompressionPipelineElement(method)
    both = transform(tmp_path, b"one", compress) + transform(tmp_path, b"two", compress)
    assert transform(tmp_path, both, decompression_element(method)) == b"onetwo"


@pytest.mark.usefixtures("_programs")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["text", "newline", "damaged stream", "much"])
def test_what_follows_the_last_stream_is_damage_and_never_left_out(tmp_path, method, kind):
    compressed = transform(tmp_path, CONTENT[:10_000], CompressionPipelineElement(method))
    damaged = bytes([compressed[0] ^ 1]) + compressed[1:]
    tails = {"text": b"a line", "newline": b"\n", "damaged stream": damaged, "much": b"line\n" * 200_000}
    with pytest.raises((IntegrityError, UnreadInputError)):
        transform(tmp_path, compressed + tails[kind], decompression_element(method))


@pytest.mark.parametrize(("method", "variable"), [("bzip2", "BZIP2"), ("bzip2", "BZIP"), ("gzip", "GZIP")])
def test_options_in_the_environment_do_not_silence_a_decompression(tmp_path, monkeypatch, method, variable):
    compressed = transform(tmp_path, CONTENT[:10_000], CompressionPipelineElement(method))
    monkeypatch.setenv(variable, "-q")
    with pytest.raises(IntegrityError):
        transform(tmp_path, compressed + b"a line", decompression_element(method))


def test_zeros_that_fill_up_a_gzip_stream_are_no_damage(tmp_path):
    compressed = transform(tmp_path, CONTENT[:10_000], CompressionPipelineElement("gzip"))
    assert transform(tmp_path, compressed + bytes(512), decompression_element("gzip")) == CONTENT[:10_000]


@pytest.mark.parametrize("arguments", [("zip",), ("zstd", 0), ("zstd", 20), ("gzip", "9"), ("bzip2", 10)])
def test_unknown_methods_and_levels_are_refused(arguments):
    with pytest.raises(ConfigError):
        CompressionPipelineElement(*arguments)


def test_an_unknown_decompression_is_refused():
    with pytest.raises(ConfigError, match="unknown compression 'zip'"):
        decompression_element("zip")


def test_zstd_is_the_default_and_uses_all_processors():
    element = CompressionPipelineElement()
    process = element.get_execution_instance(None)
    assert (process.name, element.level, element.required_programs()) == ("zstd", 2, ("zstd",))
    assert element.is_compression
    process.stop()


def test_gzip_does_without_pigz(tmp_path, monkeypatch):
    for program in ("gzip",):
        (tmp_path / program).symlink_to(f"/usr/bin/{program}")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert CompressionPipelineElement("gzip").required_programs() == ("gzip",)
    assert decompression_element("gzip").required_programs() == ("gzip",)
    compressed = transform(tmp_path, CONTENT, CompressionPipelineElement("gzip"))
    assert transform(tmp_path, compressed, decompression_element("gzip")) == CONTENT


def test_a_compressor_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="program zstd: No such file"):
        transform(tmp_path, b"", CompressionPipelineElement())
