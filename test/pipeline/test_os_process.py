import os
import select
import signal
import subprocess
import sys
import threading
import time

import pytest

from guerillabackup.errors import (
    BrokenOutputError,
    ConfigError,
    GuerillaBackupError,
    PipelineError,
    UnreadInputError,
)
from guerillabackup.pipeline.connection import DescriptorOutput, open_pipe
from guerillabackup.pipeline.os_process import OSProcess, OSProcessPipelineElement, ProcessIdentity

DEADLINE = 20


def wait_until_ready(process: OSProcess) -> None:
    """Wait, as a run does, until something of it is readable."""
    poll = select.poll()
    for descriptor in process.get_blocking_streams()[0]:
        poll.register(descriptor, select.POLLIN)
    assert poll.poll(DEADLINE * 1000)


def run_to_end(process: OSProcess) -> None:
    process.start()
    while process.do_process() >= 0:
        wait_until_ready(process)


def is_alive(process_id: int) -> bool:
    try:
        with open(f"/proc/{process_id}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def wait_until_gone(process_id: int) -> bool:
    give_up = time.monotonic() + DEADLINE
    while is_alive(process_id) and time.monotonic() < give_up:
        os.sched_yield()
    return not is_alive(process_id)


@pytest.fixture
def finish():
    """Stops processes at the end of a test, whatever it found."""
    processes = []

    def keep(process: OSProcess) -> OSProcess:
        processes.append(process)
        return process

    yield keep
    for process in processes:
        try:
            process.stop()
        except PipelineError:
            pass


def test_an_element_of_the_original_form_runs_with_its_own_argv(output_file):
    element = OSProcessPipelineElement("/bin/sh", ["other name", "-c", "echo $0 $1", "a", "b"])
    process = element.get_execution_instance(None)
    process.set_process_output_stream(output_file.fileno())
    run_to_end(process)
    process.stop()
    assert output_file.read() == b"a b\n"
    assert element.required_programs() == ("/bin/sh",)


def test_who_is_to_start_the_program_starts_it_from_where_it_likes(output_file, shell, finish):
    threads = []

    def start_by(start):
        def run():
            threads.append(start())

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        return threads[0]

    element = OSProcessPipelineElement("/bin/sh", ["sh", "-c", "echo started"], start_by=start_by)
    process = finish(element.get_execution_instance(None))
    process.set_process_output_stream(output_file.fileno())
    run_to_end(process)
    process.stop()
    assert (output_file.read(), process.exit_status) == (b"started\n", 0)
    assert [each.pid for each in threads] == [process.process_id]


def test_a_program_that_is_not_there_is_told_so_whoever_was_to_start_it(finish):
    element = OSProcessPipelineElement("/no/program", ["x"], start_by=lambda start: start())
    process = finish(element.get_execution_instance(None))
    with pytest.raises(ConfigError, match="program /no/program: No such file"):
        process.start()


@pytest.mark.parametrize("argv", ["text", [], ["sh", 1], ["nul\0"]])
def test_arguments_that_are_no_list_of_strings_are_refused(argv):
    with pytest.raises(ConfigError):
        OSProcessPipelineElement("/bin/sh", argv)


def test_allowed_exit_statuses_are_no_error(shell, finish):
    element = OSProcessPipelineElement("/bin/sh", ["sh", "-c", "exit 1"], [0, 1])
    process = finish(element.get_execution_instance(None))
    run_to_end(process)
    assert process.exit_status == 1
    process.stop()


def test_an_exit_status_is_told_again_and_again_until_the_stop(shell, finish):
    process = finish(shell("echo one >&2; echo two >&2; exit 3", name="dump").get_execution_instance(None))
    with pytest.raises(PipelineError) as first:
        run_to_end(process)
    assert str(first.value) == "stage dump (/bin/sh) ended with exit status 3: one; two"
    with pytest.raises(PipelineError) as second:
        process.do_process()
    assert second.value is first.value
    process.stop()
    with pytest.raises(PipelineError, match="not running"):
        process.do_process()


def test_an_error_nobody_was_told_keeps_it_running_and_is_raised_by_stop(shell, finish):
    process = finish(shell("exit 3").get_execution_instance(None))
    process.start()
    wait_until_ready(process)
    while process.exit_status is None:
        assert process.is_running()
    assert process.is_running()
    with pytest.raises(PipelineError, match="exit status 3"):
        process.stop()
    process.stop()
    assert not process.is_running()


def test_a_child_sees_only_its_own_descriptors_and_plain_words(shell, finish, output_file):
    script = 'echo $LC_ALL $EXTRA; cd /proc/$$/fd; echo *; cut -d" " -f5,6 /proc/$$/stat; echo $$'
    process = finish(shell(script, environment={"EXTRA": "yes"}).get_execution_instance(None))
    process.set_process_output_stream(output_file.fileno())
    run_to_end(process)
    environment, descriptors, group_and_session, process_id = output_file.read().decode().splitlines()
    assert environment == "C yes"
    # A fourth is the directory that the shell is listing.
    assert descriptors.split()[:3] == ["0", "1", "2"]
    assert len(descriptors.split()) <= 4
    assert group_and_session.split() == [process_id, process_id]


def test_descriptors_to_pass_keep_their_numbers(shell, finish, tmp_path):
    output, write_end = open_pipe()
    process = finish(
        shell(f"echo list >/dev/fd/{write_end}", pass_fds=[write_end]).get_execution_instance(None)
    )
    process.start()
    os.close(write_end)
    run_to_end(process)
    assert output.read_data(100) == b"list\n"
    output.close()


def test_it_runs_in_the_directory_it_is_given(shell, finish, output_file, tmp_path):
    process = finish(shell("pwd", working_directory=str(tmp_path)).get_execution_instance(None))
    process.set_process_output_stream(output_file.fileno())
    run_to_end(process)
    assert output_file.read().decode().strip() == os.path.realpath(tmp_path)


@pytest.mark.parametrize("program", ["/nonexistent/program", "no-such-program-anywhere", "/etc/passwd"])
def test_a_program_that_cannot_be_executed_is_the_operators_error(program, finish):
    process = finish(OSProcessPipelineElement(program, [program]).get_execution_instance(None))
    with pytest.raises(ConfigError, match=program):
        process.start()
    assert not process.is_running()
    process.stop()


def test_a_missing_working_directory_is_named(shell, finish):
    process = finish(shell("true", working_directory="/nonexistent/there").get_execution_instance(None))
    with pytest.raises(ConfigError, match="no directory /nonexistent/there"):
        process.start()


def test_starting_twice_starts_once(shell, finish, tmp_path):
    process = finish(shell(f"echo x >>{tmp_path}/started").get_execution_instance(None))
    process.start()
    run_to_end(process)
    process.start()
    assert (tmp_path / "started").read_text() == "x\n"


def test_unread_input_from_a_file_is_what_lies_behind_the_offset(shell, finish, tmp_path):
    (tmp_path / "input").write_bytes(bytes(1000))
    with open(tmp_path / "input", "rb") as file:
        element = shell("dd bs=600 count=1 of=/dev/null 2>/dev/null")
        process = finish(element.get_execution_instance(DescriptorOutput(file.fileno())))
        with pytest.raises(UnreadInputError, match=r"stage sh .* 400 bytes"):
            run_to_end(process)


def test_a_stopped_process_that_left_input_says_so(shell, finish):
    output, write_end = open_pipe()
    os.write(write_end, b"left")
    process = finish(shell("sleep 1000").get_execution_instance(output))
    process.start()
    with pytest.raises(UnreadInputError):
        process.stop()
    os.close(write_end)


def test_the_writer_notices_that_the_reader_has_ended(shell, finish):
    first = finish(OSProcessPipelineElement("yes", ["yes"]).get_execution_instance(None))
    second = finish(shell("read line").get_execution_instance(first.get_process_output()))
    first.start()
    with pytest.raises(UnreadInputError):
        run_to_end(second)
    with pytest.raises(BrokenOutputError, match="SIGPIPE"):
        run_to_end(first)


def test_stop_ends_what_the_child_started_too(shell, finish, output_file):
    process = finish(shell("trap '' TERM; sleep 1000 & echo $!; wait; wait").get_execution_instance(None))
    output = process.get_process_output()
    process.start()
    poll = select.poll()
    poll.register(output.get_output_stream_descriptor(), select.POLLIN)
    assert poll.poll(DEADLINE * 1000)
    grandchild = int(output.read_data(100) or b"0")
    assert is_alive(grandchild)
    process.stop()
    assert wait_until_gone(grandchild)
    output.close()


def test_what_a_child_left_behind_is_ended_by_stop(shell, finish):
    process = finish(shell("sleep 1000 >/dev/null & echo $! >&2").get_execution_instance(None))
    run_to_end(process)
    grandchild = int(process.get_messages()[0])
    assert is_alive(grandchild)
    process.stop()
    assert wait_until_gone(grandchild)


def test_a_stopped_child_is_ended_as_well(shell, finish):
    process = finish(shell("kill -STOP $$").get_execution_instance(None))
    process.start()
    process.stop()
    assert process.exit_status in (-signal.SIGTERM, -signal.SIGKILL)


def test_stop_before_the_start_closes_everything(shell):
    first = shell("true").get_execution_instance(None)
    second = shell("true").get_execution_instance(first.get_process_output())
    first.stop()
    second.stop()


def test_a_status_that_somebody_else_took_is_an_error_and_no_success():
    script = """
import signal
from guerillabackup.errors import PipelineError
from guerillabackup.pipeline.os_process import OSProcessPipelineElement
from guerillabackup.pipeline.run import instantiate_pipeline, run_pipeline
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
try:
    elements = [OSProcessPipelineElement("yes", ["yes"]), OSProcessPipelineElement("sleep", ["sleep", "0.3"])]
    run_pipeline(instantiate_pipeline(elements, None, None), stall_timeout=30)
except PipelineError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert result.stdout.startswith("exit status of stage ")
    assert result.stdout.endswith(" was taken by somebody else\n")
    assert result.stderr == ""


def test_counts_show_the_bytes_that_were_moved_and_last_until_the_end(shell, finish):
    output, write_end = open_pipe()
    process = finish(shell("head -c 1000000 /dev/zero; read line").get_execution_instance(output))
    process.start()
    give_up = time.monotonic() + DEADLINE
    while process.get_counts().bytes_written < 1_000_000 and time.monotonic() < give_up:
        os.sched_yield()
    os.write(write_end, b"go on\n")
    os.close(write_end)
    run_to_end(process)
    assert process.get_counts().bytes_written == 1_000_000
    assert process.get_counts().bytes_read >= 1_000_000


def test_counts_include_the_processor_time_of_descendants(shell, finish):
    process = finish(shell("(while :; do :; done) & wait").get_execution_instance(None))
    process.start()
    give_up = time.monotonic() + DEADLINE
    while process.get_counts().cpu_seconds == 0 and time.monotonic() < give_up:
        os.sched_yield()
    assert process.get_counts().cpu_seconds > 0
    process.stop()


def test_words_in_another_language_are_there_for_who_asks(shell, finish, output_file):
    element = shell("echo $LC_ALL", environment={"LC_ALL": "C.UTF-8"})
    process = finish(element.get_execution_instance(None))
    process.set_process_output_stream(output_file.fileno())
    run_to_end(process)
    assert output_file.read() == b"C.UTF-8\n"


def test_it_runs_as_whom_it_is_told_to(shell, finish, output_file):
    identity = ProcessIdentity(os.getuid(), os.getgid(), tuple(os.getgroups()))
    if os.getuid() == 0:
        identity = ProcessIdentity(65534, 65533, (65532,))
    element = shell("id -u; id -g; id -G", identity=identity, working_directory="/")
    process = finish(element.get_execution_instance(None))
    process.set_process_output_stream(output_file.fileno())
    if os.getuid() == 0:
        run_to_end(process)
        user, group, groups = output_file.read().decode().splitlines()
        assert (user, group, sorted(groups.split())) == ("65534", "65533", ["65532", "65533"])
    else:  # which groups one is in, only root may say, even where they are one's own
        with pytest.raises(GuerillaBackupError, match="not permitted"):
            run_to_end(process)
