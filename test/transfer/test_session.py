"""Two of ours, joined by real descriptors: what one side offers is what the other one gets."""

import os
import threading

import pytest
from transfer_ends import TakingPolicy, content_file, make_context, pipe_channels, socket_channels

from guerillabackup.storage.default_file import DefaultFileStorage
from guerillabackup.transfer.session import end_session, run_session

KINDS = pytest.mark.parametrize("make_channels", [socket_channels, pipe_channels])
SIZES = (0, 1, 1023, 1 << 16, (1 << 16) + 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5_000_003)


def run_both(left, right):
    """Run both sides to their ends; the errors, None for one that ended as agreed."""
    errors = [None, None]

    def run(index, context):
        try:
            run_session(context)
        except Exception as error:
            errors[index] = error
        finally:
            end_session(context)

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate((left, right))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    return errors


@KINDS
def test_elements_of_every_size_move_both_ways_at_once(make_channels):
    channels = make_channels()
    contents = [{f"{side}-{size}": os.urandom(size) for size in SIZES} for side in ("left", "right")]
    policies = [TakingPolicy(), TakingPolicy()]
    contexts = [make_context(*each) for each in zip(channels, contents, policies, strict=True)]
    assert run_both(*contexts) == [None, None]
    assert policies[0].taken == contents[1]
    assert policies[1].taken == contents[0]
    for context, content in zip(contexts, contents, strict=True):
        assert context.server.settled == [(name, True, True) for name in content]
        assert context.server.is_ended
        assert context.counters.bytes_sent == sum(SIZES)


def test_both_know_each_other_as_ours():
    contexts = [make_context(channel, {"a": b""}, TakingPolicy()) for channel in socket_channels()]
    assert run_both(*contexts) == [None, None]
    for context in contexts:
        assert context.takes_empty_elements
        assert context.remote.is_announcing
        assert context.announced.is_announcing


def test_a_side_that_only_sends_and_one_that_only_receives_end_as_agreed():
    left, right = socket_channels()
    policy = TakingPolicy()
    sender = make_context(left, {"a": b"content"})
    receiver = make_context(right, {}, policy, policy=None)
    assert run_both(sender, receiver) == [None, None]
    assert policy.taken == {"a": b"content"}
    assert sender.remote.policy_name is None


def test_nothing_is_fetched_from_a_policy_that_ours_does_not_know(caplog):
    left, right = socket_channels()
    policy = TakingPolicy()
    sender = make_context(left, {"a": b"content"}, policy="SenderOfAnotherKind")
    receiver = make_context(right, {}, policy, agent_id="strange")
    assert run_both(sender, receiver) == [None, None]
    assert policy.taken == {}
    assert "peer strange: nothing is fetched: its sender policy SenderOfAnotherKind" in caplog.text


def test_both_sides_stream_64_mib_to_each_other_at_once():
    size = 64 << 20
    policies = [TakingPolicy(keeps_content=False), TakingPolicy(keeps_content=False)]
    contexts = [
        make_context(channel, {"big": lambda: content_file(b"x" * (1 << 20), size)}, policy)
        for channel, policy in zip(socket_channels(), policies, strict=True)
    ]
    assert run_both(*contexts) == [None, None]
    assert [policy.taken for policy in policies] == [{"big": size}] * 2


@KINDS
def test_a_connection_that_leads_back_to_its_own_process_is_ended_by_both_ends_that_say_so(make_channels):
    contexts = [make_context(channel, {"a": b"x"}, TakingPolicy()) for channel in make_channels()]
    for context in contexts:
        context.instance = "one and the same"
    for error in run_both(*contexts):
        assert str(error).startswith("it is this service itself: ")
    assert [context.server.settled for context in contexts] == [[], []], "nothing was offered"


@KINDS
def test_two_on_one_storage_end_their_connection_by_whatever_path_they_opened_it(make_channels, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("data")
    contexts = [make_context(channel, {"a": b"x"}, TakingPolicy()) for channel in make_channels()]
    with DefaultFileStorage(f"{tmp_path}/data") as one, DefaultFileStorage(f"{tmp_path}/link/.") as two:
        contexts[0].local_storage, contexts[1].local_storage = one, two
        for error in run_both(*contexts):
            assert str(error).startswith("it works on the same storage: ")


def test_two_in_one_directory_tree_are_no_loop(tmp_path):
    (tmp_path / "data").mkdir()
    contexts = [make_context(channel, {"a": b"x"}, TakingPolicy()) for channel in socket_channels()]
    with DefaultFileStorage(f"{tmp_path}/data") as one, DefaultFileStorage(str(tmp_path)) as two:
        contexts[0].local_storage, contexts[1].local_storage = one, two
        contexts[0].instance, contexts[1].instance = "one", "two"
        assert run_both(*contexts) == [None, None]
