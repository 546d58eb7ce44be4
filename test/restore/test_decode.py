"""How the packing of an element is found and undone, also when it is damaged."""

import os

import pytest

from guerillabackup.errors import GuerillaBackupError, IntegrityError
from guerillabackup.restore.interface import Content


def read_all(house, element, content, **options):
    with house.service(**options) as service, service.decoder.open(element, content) as read:
        return b"".join(iter(read, b""))


@pytest.mark.parametrize("method", ["zstd", "bzip2", "gzip"])
def test_a_compression_is_found_and_undone(house, method):
    element = house.source(compression=method).store("full", b"text" * 1000)
    with house.service() as service:
        assert service.decoder.find_content(element) == Content((method,), False)
    assert read_all(house, element, Content((method,), False)) == b"text" * 1000


def test_encryption_and_what_is_inside_are_found(house, private_home):
    source = house.source(recipient=(private_home, "backup"))
    element = source.back_up("full")
    with house.service(private_keyring=private_home) as service:
        content = service.decoder.find_content(element)
        assert content == Content(("gpg", "zstd"), True)
        assert service.decoder.find_content(element, content) == content
        assert service.decoder.find_content(element, Content(("gpg",), True)) == content


def test_only_one_compression_is_undone(house):
    inner = house.source(compression="gzip").pack(b"the source's own")
    source = house.source(compression="zstd")
    element = source.store("full", inner)
    assert read_all(house, element, Content(("zstd",), False)) == inner
    with house.service() as service:
        assert service.decoder.find_content(element) == Content(("zstd",), False)


@pytest.mark.parametrize("compression", ["zstd", None])
@pytest.mark.parametrize(
    ("content", "is_archive"),
    [
        (bytes(10240), True),
        (bytes(1024), True),
        (b"", False),
        (bytes(512), False),
        (bytes(1025), False),
        (bytes(10239) + b"x", False),
        (bytes(2 << 20), False),
    ],
)
def test_an_end_mark_alone_is_an_archive(house, compression, content, is_archive):
    element = house.source(compression=compression).store("full", content)
    with house.service() as service:
        assert service.decoder.find_content(element).is_archive is is_archive


def test_a_reader_that_leaves_early_ends_the_pipeline(house):
    element = house.source(compression="zstd").store("full", os.urandom(5 << 20))
    with house.service() as service, service.decoder.open(element, Content(("zstd",), False)) as read:
        assert read()


@pytest.mark.parametrize("is_encrypted", [True, False])
def test_damaged_packing_is_an_integrity_error(house, private_home, is_encrypted):
    source = house.source(recipient=(private_home, "backup") if is_encrypted else None)
    data = bytearray(source.pack(os.urandom(300_000)))
    data[150_000:150_010] = bytes(10)
    element = source.store("full", bytes(data), pack=False)
    content = Content(("gpg", "zstd") if is_encrypted else ("zstd",), False)
    with pytest.raises(IntegrityError):
        read_all(house, element, content, private_keyring=private_home)


@pytest.mark.parametrize("is_encrypted", [False, True])
@pytest.mark.parametrize("method", ["zstd", "bzip2", "gzip"])
def test_bytes_behind_the_compressed_stream_are_not_left_out(house, private_home, method, is_encrypted):
    recipient = (private_home, "backup") if is_encrypted else None
    source = house.source(compression=None, recipient=recipient)
    packed = house.source(compression=method).pack(b"text" * 1000)
    element = source.store("full", source.pack(packed + b"a line") if is_encrypted else packed + b"a line")
    layers = ("gpg", method) if is_encrypted else (method,)
    with pytest.raises(IntegrityError):
        read_all(house, element, Content(layers, False), private_keyring=private_home)


def test_data_that_changed_under_the_reader_is_noticed_at_the_end(house):
    element = house.source(compression=None).store("full", b"text")
    (house.path / "data" / f"{str(element.get_element_id())[1:]}.data").write_bytes(b"TEXT")
    with pytest.raises(IntegrityError, match="not what its checksum says"):
        read_all(house, element, Content((), False))


def test_a_program_that_is_missing_is_an_error_and_nothing_is_left_running(house, monkeypatch):
    element = house.source(compression="zstd").store("full", b"text")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(GuerillaBackupError):
        read_all(house, element, Content(("zstd",), False))
