"""What `config check` says of transfers: all problems at once, and nothing where there are none."""

from transfer_service_host import RECEIVES, SENDS, TransferHost

from guerillabackup.cli.config_check_transfer import check_transfer
from guerillabackup.config import load_configuration


def check(tmp_path, *lines):
    host = TransferHost(tmp_path / "host", *lines)
    host.close()
    return check_transfer(load_configuration(str(host.conf)))


def test_all_that_is_wrong_is_found_at_once(tmp_path):
    peers = {
        "a": {"Connect": "/a.socket", "SenderSettings": {"Order": "x"}},
        "b": {"Stdio": True, "SocketOwner": "nobody-of-that-name", "StorageBaseDir": "/nonexistent"},
    }
    settings = "TransferReceiverSettings = {'MaxElementSize': 'much'}"
    receives = "TransferReceiverPolicyClass = guerillabackup.Transfer.ReceiverStoreDataTransferPolicy"
    problems, _ = check(tmp_path, SENDS, receives, settings, f"TransferPeers = {peers!r}")
    text = "\n".join(problems)
    for part in ("Order 'x'", "MaxElementSize 'much'", "nobody-of-that-name", "/nonexistent is not there"):
        assert part in text


def test_policies_in_the_place_of_each_other_are_told(tmp_path):
    sender = SENDS.partition("= ")[2]
    receiver = RECEIVES.partition("= ")[2]
    problems, _ = check(
        tmp_path, f"TransferSenderPolicyClass = {receiver}", f"TransferReceiverPolicyClass = {sender}"
    )
    text = "\n".join(problems)
    assert "SenderMoveDataTransferPolicy is a sender's policy, and was named as the receiver's" in text
    assert "ReceiverStoreDataTransferPolicy is a receiver's policy" in text


def test_a_host_without_transfers_is_told_nothing(tmp_path):
    assert check(tmp_path) == ([], [])


def test_a_service_that_moves_nothing_is_warned_of(tmp_path):
    problems, warnings = check(tmp_path, "TransferPeers = {'a': {'Stdio': True}}")
    assert problems == []
    assert warnings == [
        "the transfer service neither sends nor receives anything: "
        "set TransferSenderPolicyClass or TransferReceiverPolicyClass"
    ]


def test_a_peer_to_which_nothing_goes_is_warned_of(tmp_path):
    peers = {"a": {"Stdio": True, "SenderPolicyClass": None}}
    assert check(tmp_path, SENDS, f"TransferPeers = {peers!r}") == (
        [],
        ["nothing is sent to nor received from peer a"],
    )


def test_who_signs_and_receives_is_told_that_others_have_to_sign_unless_that_is_said(tmp_path):
    receives = "TransferReceiverPolicyClass = guerillabackup.Transfer.ReceiverStoreDataTransferPolicy"
    _, (warning,) = check(tmp_path, receives, "GeneralSigningKey = 'signing'")
    assert warning.startswith("the transfer service refuses elements that are not signed")
    for said in ("True", "False"):
        lines = (receives, "GeneralSigningKey = 'signing'", f"GeneralRequireSignatures = {said}")
        assert check(tmp_path / said, *lines) == ([], [])


def test_a_host_that_only_receives_needs_no_unit(tmp_path):
    host = TransferHost(tmp_path / "host", RECEIVES)
    result = host.run("config", "check")
    host.close()
    assert "no unit is enabled" not in result.stdout + result.stderr
    assert result.returncode == 0


def test_what_can_hardly_be_meant_is_warned_of(tmp_path):
    _, warnings = check(tmp_path, RECEIVES, "TransferPeers = {'a': {'Connect': ['no-such-program', 'x']}}")
    assert "peer a: Connect starts no-such-program, which is no program in PATH" in warnings
