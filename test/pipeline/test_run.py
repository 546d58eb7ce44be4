import hashlib
import itertools
import os
import select
import signal
import subprocess
import threading

import pytest

from guerillabackup.errors import (
    ConfigError,
    IntegrityError,
    KeyUnusableError,
    PipelineError,
    StorageFullError,
    UnreadInputError,
)
from guerillabackup.pipeline.compression import CompressionPipelineElement, decompression_element
from guerillabackup.pipeline.connection import open_pipe
from guerillabackup.pipeline.digest import DigestPipelineElement
from guerillabackup.pipeline.gpg import GpgDecryptionPipelineElement, GpgEncryptionPipelineElement
from guerillabackup.pipeline.os_process import OSProcessPipelineElement
from guerillabackup.pipeline.run import default_downstream, instantiate_pipeline, run_pipeline
from guerillabackup.pipeline.thread import ThreadPipelineElement


def run(*elements, output_fd=None, **arguments):
    processes = instantiate_pipeline(elements, None, output_fd)
    run_pipeline(processes, **{"stall_timeout": 60, **arguments})
    return processes


def count_own_reads() -> int:
    with open("/proc/thread-self/io") as file:
        return int(file.readline().removeprefix("rchar: "))


def after(looks: int):
    """A `cancelled` that says yes after so many looks."""
    counter = itertools.count()
    return lambda: next(counter) >= looks


@pytest.mark.exhaustive
def test_200_megabytes_come_back_bit_by_bit_with_the_right_digest(keys, tmp_path):
    encryption = GpgEncryptionPipelineElement("good@example.org", home=keys.home).without_compression()
    source = OSProcessPipelineElement("head", ["head", "-c", "200000000", "/dev/urandom"])
    elements = [
        source,
        DigestPipelineElement(),
        CompressionPipelineElement(),
        encryption,
        DigestPipelineElement(),
    ]
    with open(tmp_path / "stored", "w+b") as stored:
        made = run(*elements, output_fd=stored.fileno())
        stored.seek(0)
        assert hashlib.file_digest(stored, "sha512").digest() == made[-1].get_digest_data()
        assert os.fstat(stored.fileno()).st_size == made[-1].get_size()
        stored.seek(0)
        back = [
            GpgDecryptionPipelineElement(keys.home),
            decompression_element("zstd"),
            DigestPipelineElement(),
        ]
        processes = instantiate_pipeline(back, stored.fileno(), None)
        run_pipeline(processes, stall_timeout=60)
    assert processes[-1].get_size() == 200_000_000
    assert processes[-1].get_digest_data() == made[1].get_digest_data()


@pytest.mark.parametrize("place", range(4))
def test_whichever_program_is_killed_it_is_the_cause(shell, place):
    elements = [OSProcessPipelineElement("yes", ["yes"], name="stage-0")]
    elements += [OSProcessPipelineElement("cat", ["cat"], name=f"stage-{number}") for number in (1, 2)]
    elements.append(OSProcessPipelineElement("cat", ["cat"], name="stage-3"))
    processes = instantiate_pipeline(elements, None, None)

    def kill(seconds, stages) -> None:
        if processes[3].exit_status is None and processes[place].process_id is not None:
            os.kill(processes[place].process_id, signal.SIGKILL)

    with pytest.raises(PipelineError, match=rf"stage stage-{place} \(\w+\) was ended by SIGKILL"):
        run_pipeline(processes, stall_timeout=60, on_progress=kill, progress_interval=0.05)


@pytest.mark.parametrize("place", range(3))
def test_whichever_program_fails_it_is_the_cause(shell, place):
    scripts = ["yes", "cat", "cat >/dev/null"]
    scripts[place] = "head -c 100000 >/dev/null </dev/zero; exit 5"
    with pytest.raises(PipelineError, match=f"stage stage-{place} .* exit status 5"):
        run(*(shell(script, name=f"stage-{number}") for number, script in enumerate(scripts)))


def test_what_a_cut_input_makes_of_the_next_program_is_not_the_cause(shell, tmp_path):
    elements = [
        shell("echo data | zstd -c | head -c 5; exit 9", name="source"),
        decompression_element("zstd"),
    ]
    with pytest.raises(PipelineError, match=r"stage source .* exit status 9"):
        run(*elements)


@pytest.mark.parametrize("reader", ["head -c 10", "true", "read line"])
@pytest.mark.parametrize("is_last", [True, False])
def test_a_program_that_does_not_read_everything_is_an_error(shell, reader, is_last):
    elements = [shell("yes", name="source"), shell(reader, name="reader")]
    if not is_last:
        elements.append(DigestPipelineElement())
    with pytest.raises(
        UnreadInputError, match=r"stage reader \(/bin/sh\) has ended, but (\d+ bytes|the input was not)"
    ):
        run(*elements)


def test_little_unread_input_of_a_program_that_ended_long_ago_is_an_error_too(shell):
    with pytest.raises(UnreadInputError, match="stage reader"):
        run(shell("echo one line"), shell("true", name="reader"))


def test_a_stopped_program_is_a_stall_and_named(shell):
    stage = shell("echo begin; kill -STOP $$; echo end", name="sleeper")
    with pytest.raises(PipelineError, match=r"limit 0.2 s.*sleeper, digest had not ended"):
        run(stage, DigestPipelineElement(), stall_timeout=0.2)


def test_a_busy_program_is_no_stall(shell):
    script = "i=0; while [ $i -lt 1000000 ]; do i=$((i+1)); done; echo done"
    processes = run(shell(script), DigestPipelineElement(), stall_timeout=0.5)
    assert processes[1].get_size() == 5


def test_a_silent_grandchild_that_keeps_the_output_open_is_a_stall(shell):
    with pytest.raises(PipelineError, match="digest had not ended"):
        run(shell("sleep 1000 & echo x"), DigestPipelineElement(), stall_timeout=0.2)


def test_a_grandchild_that_goes_on_writing_is_waited_for(shell):
    processes = run(shell("(sleep 0.3; echo late) & echo early"), DigestPipelineElement())
    assert processes[1].get_size() == len("early\nlate\n")


def test_a_grandchild_that_keeps_standard_error_open_holds_up_nobody(shell):
    processes = run(shell("sleep 1000 >/dev/null & echo x"), DigestPipelineElement())
    assert processes[1].get_size() == 2


def test_a_flood_of_messages_neither_hangs_nor_grows(shell):
    processes = run(shell("yes message | head -n 2000000 >&2; echo x"), DigestPipelineElement())
    messages = processes[0].get_messages()
    assert len(messages) == 201
    assert messages[100] == "(1999800 lines left out)"
    assert processes[1].get_size() == 2


def test_an_endless_flood_of_messages_can_be_cancelled(shell):
    with pytest.raises(PipelineError, match="cancelled"):
        run(shell("yes >&2"), DigestPipelineElement(), progress_interval=0.01, cancelled=after(3))


def test_a_missing_program_starts_nothing_and_is_named(shell):
    elements = [shell("yes"), OSProcessPipelineElement("/no/such", ["such"]), DigestPipelineElement()]
    with pytest.raises(ConfigError, match="program /no/such"):
        run(*elements)


def test_an_unusable_key_is_the_cause_whatever_happens_around_it(shell, keys):
    elements = default_downstream(CompressionPipelineElement(), None, "nobody@example.org", keys.home)
    with pytest.raises(KeyUnusableError, match=r"nobody@example\.org"):
        run(shell("yes"), *elements)


def test_a_damaged_stream_is_the_cause_whatever_happens_around_it(shell, output_file):
    elements = [shell("yes", name="source"), decompression_element("zstd"), DigestPipelineElement()]
    with pytest.raises(IntegrityError, match="stage zstd"):
        run(*elements, output_fd=output_file.fileno())


def test_a_full_file_system_is_the_cause_and_more_space_cures_it(tmp_path, shell):
    if os.geteuid() == 0:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)], check=True)
        target = tmp_path / "data"
    else:
        target = "/dev/full"
    elements = [shell("yes | head -c 8000000"), DigestPipelineElement()]
    try:
        with open(target, "wb") as file, pytest.raises(StorageFullError, match="stage digest"):
            run(*elements, output_fd=file.fileno())
        if os.geteuid() == 0:
            subprocess.run(["mount", "-o", "remount,size=20m", str(tmp_path)], check=True)
            with open(target, "wb") as file:
                assert run(*elements, output_fd=file.fileno())[1].get_size() == 8_000_000
    finally:
        if os.geteuid() == 0:
            subprocess.run(["umount", str(tmp_path)], check=True)


def test_two_pipelines_run_side_by_side(shell, tmp_path, output_file):
    """Goal: a program's second output goes through stages of its own, and all are waited for together."""
    listing, write_end = open_pipe()
    source = shell(f"echo data; echo member >/dev/fd/{write_end}", pass_fds=[write_end])
    main = instantiate_pipeline([source, DigestPipelineElement()], None, None)
    members = instantiate_pipeline([shell("tr a-z A-Z")], listing, output_file.fileno())
    main[0].start()
    os.close(write_end)
    run_pipeline([*main, *members], stall_timeout=60)
    assert main[1].get_size() == 5
    assert output_file.read() == b"MEMBER\n"


def test_a_failure_in_one_of_two_pipelines_ends_both(shell):
    main = instantiate_pipeline([shell("yes"), shell("cat >/dev/null")], None, None)
    members = instantiate_pipeline([shell("exit 6", name="members")], None, None)
    with pytest.raises(PipelineError, match=r"stage members .* exit status 6"):
        run_pipeline([*main, *members], stall_timeout=60)


def test_progress_is_told_at_the_start_and_at_the_end(shell):
    seen = []
    processes = run(
        shell("yes | head -c 3000000", name="source"),
        DigestPipelineElement(),
        on_progress=lambda seconds, stages: seen.append((seconds, stages)),
    )
    assert len(seen) >= 2
    last = seen[-1][1]
    assert [stage.stage for stage in last] == ["source", "digest"]
    assert last[1].bytes_written == processes[1].get_size() == 3_000_000
    times = [seconds for seconds, _ in seen]
    assert times == sorted(times)


def test_cancelling_ends_a_run_of_all_kinds_of_stages(shell):
    def slow(input_fd: int, output_fd: int) -> None:
        while data := os.read(input_fd, 1 << 16):
            os.write(output_fd, data)

    elements = [
        shell("sleep 1000"),
        ThreadPipelineElement(slow, "slow"),
        DigestPipelineElement(),
        shell("cat"),
    ]
    with pytest.raises(PipelineError, match="cancelled"):
        run(*elements, progress_interval=0.01, cancelled=after(2))


def test_what_a_listener_raises_ends_the_run(shell):
    def interrupt(seconds, stages) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(shell("sleep 1000"), DigestPipelineElement(), on_progress=interrupt)


@pytest.mark.parametrize("behind", ["program", "deaf program", "thread"])
def test_a_function_that_waits_to_write_ends_with_whoever_reads_from_it(shell, behind):
    """Left alone its thread would be given up after ten seconds, and be there still."""
    is_full = threading.Event()

    def flood(input_fd: int, output_fd: int) -> None:
        while True:
            if not select.select([], [output_fd], [], 0)[1]:
                is_full.set()
            os.write(output_fd, bytes(4096))

    def wait(input_fd: int, output_fd: int) -> None:
        is_going_on.wait()

    def interrupt(seconds, stages) -> None:
        if is_full.is_set():
            is_going_on.set()
            raise KeyboardInterrupt

    is_going_on = threading.Event()
    reader = {
        "program": shell("sleep 1000"),
        "deaf program": shell("trap '' TERM; while :; do sleep 0.1; done"),
        "thread": ThreadPipelineElement(wait, "wait"),
    }[behind]
    with pytest.raises(KeyboardInterrupt):
        run(ThreadPipelineElement(flood, "flood"), reader, on_progress=interrupt, progress_interval=0.01)
    assert not any(thread.name == "stage-flood" for thread in threading.enumerate())


def test_a_pipeline_that_cannot_be_joined_closes_what_it_opened(shell):
    class Refusing(DigestPipelineElement):
        def get_execution_instance(self, upstream_process_output):
            raise ConfigError("not today")

    with pytest.raises(ConfigError, match="not today"):
        instantiate_pipeline([shell("yes"), shell("cat"), Refusing()], None, None)


def test_no_stages_are_no_work():
    run_pipeline(instantiate_pipeline([], None, None), stall_timeout=60)


def test_many_runs_at_once_do_not_hold_each_others_pipes(shell):
    failures = []

    def work() -> None:
        try:
            for _ in range(10):
                assert run(shell("echo x"), shell("cat"), DigestPipelineElement())[2].get_size() == 2
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []


def test_the_bytes_between_programs_do_not_pass_through_us(shell):
    before = count_own_reads()
    run(shell("head -c 300000000 /dev/zero"), shell("cat"), shell("cat >/dev/null"))
    assert count_own_reads() - before < 1_000_000


def test_the_default_downstream_compresses_encrypts_and_digests(keys):
    compression = CompressionPipelineElement()
    elements = default_downstream(compression, GpgEncryptionPipelineElement("old"), "new", keys.home)
    assert elements[0] is compression
    arguments = elements[1].get_arguments()
    assert arguments[-2:] == ("--hidden-recipient", "new")
    assert arguments[arguments.index("--homedir") + 1] == keys.home
    assert "--compress-algo" in arguments
    assert isinstance(elements[2], DigestPipelineElement)


def test_the_default_downstream_can_be_the_digest_alone():
    (element,) = default_downstream(None, None, None, "/keys")
    assert isinstance(element, DigestPipelineElement)


def test_gpg_compresses_itself_where_nothing_did_before():
    encryption, _ = default_downstream(None, GpgEncryptionPipelineElement("key"), None, "/keys")
    assert "--compress-algo" not in encryption.get_arguments()


def test_a_key_is_never_ignored_by_an_encryption_that_knows_no_keys(shell):
    with pytest.raises(ConfigError, match="cannot be replaced"):
        default_downstream(None, shell("cat"), "key", "/keys")
