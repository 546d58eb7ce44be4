"""The content of an element goes to a descriptor or a program, and no part of it passes for the whole."""

import contextlib
import os
import subprocess

import pytest

from guerillabackup.element import CONTENT_LAYERS_KEY, CONTENT_TYPE_KEY, SourceUrl
from guerillabackup.errors import ConfigError, IntegrityError, PipelineError, UnreadInputError
from guerillabackup.pipeline.os_process import OSProcessPipelineElement

URL = "/host/dump"
CONTENT = b"".join(b"%d\n" % number for number in range(300_000))


def store(house, content=CONTENT, layers=1, **options):
    source = house.source(source=URL, **options)
    return source.store("full", content, **{CONTENT_TYPE_KEY: "command-output", CONTENT_LAYERS_KEY: layers})


def data_path(house, element):
    return house.path / "data" / f"{str(element.get_element_id())[1:]}.data"


@contextlib.contextmanager
def open_stream(house, **options):
    with (
        house.service(**options) as service,
        service.open_stream(service.find_chain(SourceUrl(URL))) as stream,
    ):
        yield stream


def shell(script):
    return OSProcessPipelineElement("/bin/sh", ["sh", "-c", script])


def read_all(house, **options):
    with open_stream(house, **options) as stream, open(house.path / "read", "wb") as file:
        stream.write(file.fileno())
    return (house.path / "read").read_bytes()


def test_it_is_written_decrypted_and_decompressed(house, private_home):
    store(house, layers=2, recipient=(private_home, "backup"))
    assert read_all(house, private_keyring=private_home) == CONTENT


def test_what_its_maker_had_compressed_comes_back_so(house):
    compressed = subprocess.run(["gzip", "-c"], input=CONTENT, capture_output=True, check=True).stdout
    store(house, compressed, layers=0, compression=None)
    assert read_all(house) == compressed
    store(house, compressed, layers=1)
    assert read_all(house) == compressed


def test_what_looks_like_an_archive_is_a_stream_all_the_same(house):
    argv = ["tar", "-c", "-C", "/etc", "passwd"]
    archive = subprocess.run(argv, capture_output=True, check=True).stdout
    store(house, archive)
    assert read_all(house) == archive
    store(house, archive, layers=None)
    assert read_all(house) == archive


def test_an_empty_one_is_empty(house):
    store(house, b"")
    assert read_all(house) == b""


def test_an_archive_is_refused_with_what_to_do(house):
    source = house.source(source=URL)
    (source.tree / "file").write_text("content")
    source.back_up("full")
    with pytest.raises(ConfigError, match="is an archive, not a stream: restore it with --to DIR"):
        read_all(house)


def test_what_was_packed_by_an_unknown_program_is_refused(house):
    store(house, layers=2)
    with pytest.raises(ConfigError, match="was packed 2 times, and only 1 of the programs can be told"):
        read_all(house)


def test_damage_is_found_before_anything_is_handed_out(house):
    element = store(house)
    damaged = bytearray(data_path(house, element).read_bytes())
    damaged[-1] ^= 1
    data_path(house, element).write_bytes(damaged)
    with pytest.raises(IntegrityError, match="not what its checksum says"):
        open_stream(house).__enter__()


def test_a_program_reads_all_of_it_and_its_words_are_handed_back(house):
    store(house)
    with open_stream(house) as stream, open(house.path / "out", "wb") as file:
        assert stream.feed(shell("echo words >&2; cat"), file.fileno()) == ["words"]
    assert (house.path / "out").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("script", "error", "match"),
    [
        ("cat > /dev/null; echo why >&2; exit 3", PipelineError, "exit status 3: why"),
        ("exit 3", PipelineError, "exit status 3"),
        ("kill -9 $$", PipelineError, "SIGKILL"),
        ("head -c 10 > /dev/null", UnreadInputError, "were not read|not read to its end"),
    ],
)
def test_a_program_that_fails_or_stops_reading_is_an_error(house, script, error, match):
    store(house)
    with open_stream(house) as stream, pytest.raises(error, match=match):
        stream.feed(shell(script), None)


def test_a_program_that_is_not_there_is_an_error_and_leaves_nothing_running(house):
    store(house)
    program = OSProcessPipelineElement("/no/such/program", ["program"])
    with open_stream(house) as stream, pytest.raises(ConfigError, match="No such file"):
        stream.feed(program, None)


@pytest.mark.parametrize("compression", ["zstd", None])
def test_a_program_never_sees_the_end_of_what_was_exchanged_after_its_verification(house, compression):
    element = store(house, compression=compression, layers=0 if compression is None else 1)
    path = data_path(house, element)
    with open_stream(house) as stream:
        exchanged = bytearray(path.read_bytes())
        exchanged[len(exchanged) // 2] ^= 1
        with open(path, "r+b") as file:
            file.write(exchanged)
        with pytest.raises((IntegrityError, PipelineError)):
            stream.feed(shell(f"cat > {house.path / 'got'}; touch {house.path / 'end'}"), None)
    assert not (house.path / "end").exists()


def test_nothing_is_left_open_or_running(house):
    store(house)
    before = len(os.listdir("/proc/self/fd"))
    for script in ("cat > /dev/null", "exit 1"):
        with open_stream(house) as stream, contextlib.suppress(PipelineError):
            stream.feed(shell(script), None)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_stream_into_a_directory_is_a_file_named_as_its_element(house):
    element = store(house)
    report = house.restore(source=URL)
    assert report.written_to == str(house.path / "out" / element.get_element_id().file_stem)
    assert os.listdir(house.path / "out") == [element.get_element_id().file_stem]
    with open(report.written_to, "rb") as file:
        assert file.read() == CONTENT
