import json
import socket
import threading

import pytest
from transfer_ends import OfferingServer, TakingPolicy, content_file, make_context, socket_channels

from guerillabackup.errors import ConnectionLostError, IntegrityError, RemoteProtocolError, StorageError
from guerillabackup.transfer.channel import Channel
from guerillabackup.transfer.frames import FrameKind, encode
from guerillabackup.transfer.session import end_session, run_session


@pytest.fixture
def peer():
    """Makes the client of one side; the other side is served until the end."""
    running = []

    def make(elements, server=None):
        ours, theirs = (make_context(channel, {}) for channel in socket_channels())
        if server is not None:
            theirs.server.__class__ = server
        theirs.server.elements = dict(elements)
        thread = threading.Thread(target=serve, args=(theirs,))
        thread.start()
        running.append((ours, thread))
        return ours.client, theirs.server

    def serve(context):
        try:
            run_session(context)
        except RemoteProtocolError:
            pass
        finally:
            end_session(context)

    yield make
    for context, thread in running:
        end_session(context)
        thread.join(60)
        assert not thread.is_alive()


def read(client):
    with client.get_data_element_stream() as stream:
        buffer, data = memoryview(bytearray(1000)), b""
        while count := stream.read_into(buffer):
            data += buffer[:count]
        return data


def test_elements_can_be_asked_for_one_question_at_a_time(peer):
    client, server = peer({"a": b"1", "b": b"22"})
    assert client.get_remote_policy_info().policy_name == "SenderMoveDataTransferPolicy"
    client.start_transaction()
    assert client.next_data_element()
    assert client.get_data_element_info() == client.get_data_element_info()
    assert client.get_data_element_info().source_url.text == "/a"
    assert read(client) == b"1"
    assert client.next_data_element(True)
    assert read(client) == b"22"
    assert not client.next_data_element(False)
    assert client.get_data_element_info() is None
    assert server.settled == [("a", True, True), ("b", False, True)]


def test_a_transaction_can_begin_anew(peer):
    client, _ = peer({"a": b"1"})
    for _ in range(2):
        client.start_transaction()
        assert client.next_offer().source_url.text == "/a"
        assert client.next_offer() is None


def test_data_that_is_not_read_to_its_end_is_drained_when_it_is_little(peer):
    client, _ = peer({"a": bytes(100_000), "b": b"2"})
    client.start_transaction()
    client.next_offer()
    with client.get_data_element_stream() as stream:
        assert stream.read_into(memoryview(bytearray(10))) == 10
    assert client.next_offer().source_url.text == "/b"
    assert read(client) == b"2"


def test_data_that_is_not_read_to_its_end_ends_the_connection_when_it_is_much(peer):
    client, _ = peer({"a": bytes(50_000_000)})
    client.start_transaction()
    client.next_offer()
    with client.get_data_element_stream() as stream:
        assert stream.read_into(memoryview(bytearray(10))) == 10
    for _ in range(2):
        with pytest.raises(ConnectionLostError, match="version 1 cannot end its stream"):
            client.next_offer()


def test_what_was_stored_is_acknowledged_after_a_stop_and_nothing_else_begins(peer):
    client, server = peer({"a": b"1", "b": b"2"})
    client.start_transaction()
    client.next_offer()
    assert read(client) == b"1"
    client.request_stop()
    assert client.next_offer(True) is None
    assert server.settled == [("a", True, True)]
    assert client.next_offer() is None
    client.start_transaction()
    assert not client.next_data_element()
    client.offer_shutdown()
    client.wait_for_shutdown()
    assert [name for name, was_stored, _ in server.settled if was_stored] == ["a"]


def test_a_forced_end_ends_what_waits_and_all_that_follows(peer):
    client, _ = peer({"a": lambda: content_file(bytes(65536), 50_000_000)})
    client.start_transaction()
    client.next_offer()
    timer = threading.Timer(0.05, client.force_shutdown)
    timer.start()
    with pytest.raises(ConnectionLostError, match="from here"):
        read(client)
    timer.join()
    with pytest.raises(ConnectionLostError, match="from here"):
        client.next_offer()


class ServerWithoutStorage(OfferingServer):
    """Its storage fails in the middle of it all."""

    def get_data_element_stream(self):
        raise StorageError("input/output error")


def test_a_storage_that_fails_the_peer_ends_the_connection_for_both(peer):
    client, _ = peer({"a": b"1"}, ServerWithoutStorage)
    client.start_transaction()
    client.next_offer()
    with pytest.raises(ConnectionLostError, match=r"closed the connection|broke"):
        read(client)


def test_an_element_that_cannot_be_understood_does_not_end_the_connection():
    ours, theirs = socket.socketpair()
    context = make_context(Channel.of_socket(ours), {})

    def answer():
        for info in ([".. /", "{}", None], ["/b", '{"BackupType": "inc", "Timestamp": 1}', None]):
            theirs.recv(1000)
            payload = json.dumps(info).encode()
            theirs.sendall(encode(FrameKind.RESPONSE, b"true") + encode(FrameKind.RESPONSE, payload))

    thread = threading.Thread(target=answer)
    thread.start()
    with pytest.raises(IntegrityError, match="element of"):
        context.client.next_offer()
    assert context.client.next_offer().source_url.text == "/b"
    thread.join()
    end_session(context)
    theirs.close()


def test_a_policy_that_fetches_all_sees_everything_in_order(peer):
    elements = {f"e{number}": bytes([number]) for number in range(50)}
    client, _ = peer(elements)
    context = make_context(socket_channels()[0], {}, TakingPolicy())
    end_session(context)
    context.client = client
    context.receiver_policy.apply_policy(context)
    assert context.receiver_policy.taken == elements
