"""A stage that counts what comes by, and leaves it as it is."""

import pytest

from guerillabackup.errors import PipelineError
from guerillabackup.pipeline.counting import CountingPipelineElement
from guerillabackup.pipeline.run import instantiate_pipeline, run_pipeline


def run(shell, first, last, output_file, **arguments):
    elements = [shell(first), CountingPipelineElement(), shell(last)]
    processes = instantiate_pipeline(elements, None, output_file.fileno())
    run_pipeline(processes, **{"stall_timeout": 30, **arguments})
    return processes


@pytest.mark.parametrize("size", [0, 1, 65537, 5_000_000])
def test_it_counts_every_byte_and_changes_none(shell, output_file, size):
    counted = run(
        shell, f"head -c {size} /dev/urandom | tee copy; cat copy; rm copy", "sha512sum", output_file
    )
    assert counted[1].get_counts().bytes_written == 2 * size


def test_what_it_passes_on_is_what_it_got(shell, output_file):
    run(shell, "seq 100000; echo noise >&2", "cat", output_file)
    assert output_file.read() == b"".join(b"%d\n" % number for number in range(1, 100001))


def test_a_slow_reader_does_not_end_it(shell, output_file):
    counted = run(shell, "head -c 3000000 /dev/zero", "sleep 0.2; wc -c", output_file)
    assert output_file.read().split() == [b"3000000"]
    assert counted[1].get_counts().bytes_read == 3_000_000


def test_a_reader_that_gives_up_fails_the_run_with_its_own_error(shell, output_file):
    with pytest.raises(PipelineError, match="exit status 3"):
        run(shell, "yes", "head -c 10; exit 3", output_file)


def test_it_ends_with_a_run_that_stalls(shell, output_file):
    with pytest.raises(PipelineError, match="no stage did anything"):
        run(shell, "sleep 100", "cat", output_file, stall_timeout=0.3)


def test_it_ends_although_someone_outside_of_the_run_holds_its_input(shell, output_file):
    with pytest.raises(PipelineError, match="no stage did anything"):
        run(shell, "setsid sleep 3 & exit 0", "cat", output_file, stall_timeout=0.3)


def test_it_looks_seldom_when_told_to_and_misses_nothing(shell, output_file):
    elements = [shell("seq 20000; sleep 0.1; seq 5"), CountingPipelineElement("list", 0.01), shell("cat")]
    processes = instantiate_pipeline(elements, None, output_file.fileno())
    run_pipeline(processes, stall_timeout=30)
    expected = b"".join(b"%d\n" % number for count in (20000, 5) for number in range(1, count + 1))
    assert output_file.read() == expected
    assert processes[1].get_counts().bytes_written == len(expected)


def test_while_it_waits_it_sees_at_once_that_there_is_no_more(shell, output_file):
    elements = [shell("echo a"), CountingPipelineElement("list", 3600), shell("cat")]
    processes = instantiate_pipeline(elements, None, output_file.fileno())
    run_pipeline(processes, stall_timeout=30)
    assert output_file.read() == b"a\n"


def test_while_it_waits_it_can_be_stopped(shell, output_file):
    elements = [shell("echo a; sleep 100"), CountingPipelineElement("list", 3600), shell("cat")]
    with pytest.raises(PipelineError, match="no stage did anything"):
        run_pipeline(instantiate_pipeline(elements, None, output_file.fileno()), stall_timeout=0.3)
