"""A forked child closes what it must not keep, and no other descriptor."""

import os

from guerillabackup.generator import forked


def is_open_in_a_child(descriptor):
    child = os.fork()
    if child == 0:
        try:
            os.fstat(descriptor)
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_child_closes_what_is_held_until_it_is_released():
    read_end, write_end = os.pipe()
    forked.hold(read_end)
    assert not is_open_in_a_child(read_end)
    assert is_open_in_a_child(write_end)
    os.fstat(read_end)
    forked.release(read_end)
    assert is_open_in_a_child(read_end)
    os.close(read_end)
    os.close(write_end)
