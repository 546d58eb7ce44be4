import os
import socket

import pytest

from guerillabackup.errors import BrokenOutputError, PipelineError, UnreadInputError
from guerillabackup.pipeline.connection import (
    DescriptorOutput,
    NonblockingWriter,
    OutputSlot,
    PumpedOutput,
    open_pipe,
)


def test_an_open_pipe_gives_its_bytes_then_nothing_and_after_its_end_none():
    output, write_end = open_pipe()
    os.write(write_end, b"hello")
    assert output.read_data(3) == b"hel"
    assert output.read_data(3) == b"lo"
    assert output.read_data(3) == b""
    os.close(write_end)
    assert output.read_data(3) is None
    output.close()
    output.close()


def test_unread_bytes_in_a_pipe_are_an_error_of_its_close():
    output, write_end = open_pipe()
    os.write(write_end, b"hello")
    os.close(write_end)
    with pytest.raises(UnreadInputError, match="5 bytes"):
        output.close()


def test_closing_before_the_writer_has_ended_is_an_error():
    output, write_end = open_pipe()
    with pytest.raises(UnreadInputError, match="not read to its end"):
        output.close()
    with pytest.raises(BrokenPipeError):
        os.write(write_end, b"x")
    os.close(write_end)


def test_what_lies_behind_the_offset_of_a_file_is_unread(tmp_path):
    (tmp_path / "file").write_bytes(b"0123456789")
    with open(tmp_path / "file", "rb") as file:
        output = DescriptorOutput(file.fileno())
        assert output.read_data(4) == b"0123"
        with pytest.raises(UnreadInputError, match="6 bytes"):
            output.close()
        with pytest.raises(PipelineError):
            output.get_output_stream_descriptor()
        os.fstat(file.fileno())


def test_what_is_buffered_in_a_given_socket_is_unread():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"hello")
        with pytest.raises(UnreadInputError, match="5 bytes"):
            DescriptorOutput(ours.fileno()).close()


def test_a_device_has_nothing_unread():
    with open("/dev/zero", "rb", buffering=0) as file:
        DescriptorOutput(file.fileno()).close()


def test_an_output_slot_is_a_pipe_or_a_stream_but_not_both():
    slot = OutputSlot()
    output = slot.get_process_output()
    assert slot.get_process_output() is output
    with pytest.raises(PipelineError):
        slot.set_stream(1)
    slot.abandon()
    other = OutputSlot()
    other.set_stream(1)
    with pytest.raises(PipelineError):
        other.get_process_output()


def test_a_writer_takes_what_fits_and_never_blocks():
    output, write_end = open_pipe()
    writer = NonblockingWriter(write_end)
    assert os.get_blocking(write_end)
    os.close(write_end)
    written = writer.write(memoryview(bytes(1 << 23)))
    assert 0 < written < 1 << 23
    assert writer.write(memoryview(b"x")) == 0
    with pytest.raises(UnreadInputError):
        output.close()
    with pytest.raises(BrokenOutputError):
        writer.write(memoryview(b"x"))
    writer.close()


def test_a_writer_does_not_block_on_a_socket_nor_change_its_flags():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        writer = NonblockingWriter(ours.fileno())
        while writer.write(memoryview(bytes(1 << 16))) > 0:
            pass
        assert os.get_blocking(ours.fileno())
        writer.close()


def test_a_pump_carries_everything_into_its_pipe(make_chunks):
    chunks = make_chunks(b"one", b"", b"two")
    pump = PumpedOutput(chunks)
    while not pump.is_done:
        pump.move()
    assert os.read(pump.get_output_stream_descriptor(), 100) == b"onetwo"
    pump.close()
    assert chunks.is_closed


def test_what_a_pump_did_not_carry_is_unread(make_chunks):
    chunks = make_chunks(b"one", b"two")
    pump = PumpedOutput(chunks)
    pump.move()
    os.read(pump.get_output_stream_descriptor(), 100)
    with pytest.raises(UnreadInputError):
        pump.close()
    assert chunks.is_closed
