from guerillabackup.transfer.interface import TransferCounters
from guerillabackup.transfer.peers import PeerStatus
from guerillabackup.transfer.plan import make_plan
from guerillabackup.transfer.report import (
    RATE_SECONDS,
    RateMeter,
    describe_peer,
    is_failing,
    subtract_counters,
    sum_moved,
    summarize,
)

VALUES = {
    "GeneralPersistencyBaseDir": "/state",
    "GeneralRuntimeDataDir": "/run",
    "DefaultFileSystemSinkBaseDir": "/data",
}


def status(name="a", *, received=0, sent=0, success=None, error_at=None):
    counters = TransferCounters(received, received * 10, sent, sent * 100)
    return PeerStatus(name, None, 0, 0, counters, success, "broken" if error_at else None, error_at)


def test_a_rate_is_that_of_the_last_seconds():
    meter = RateMeter()
    assert meter.rates == (0.0, 0.0)
    meter.add(0.0, (0, 0))
    assert meter.rates == (0.0, 0.0)
    meter.add(1.0, (1000, 0))
    assert meter.rates == (1000.0, 0.0)
    for second in range(2, 100):
        meter.add(float(second), (1000, 50 * second))
    assert meter.rates == (0.0, 50.0)


def test_a_rate_forgets_what_is_older_than_its_window_and_keeps_a_pause():
    meter = RateMeter()
    meter.add(0.0, (0, 0))
    meter.add(1000.0, (1000 * int(RATE_SECONDS), 0))
    assert meter.rates == (RATE_SECONDS, 0.0)


def test_a_peer_is_described_the_same_way_before_and_after_it_connects():
    (plan,) = make_plan(VALUES).peers
    before, after = describe_peer(plan, None, 5.0), describe_peer(plan, status("socket", sent=2), None)
    assert before.keys() == after.keys()
    assert (before["elements_sent"], after["elements_sent"], before["next_dial_in"]) == (0, 2, 5.0)
    gone = describe_peer(None, status("gone"), None)
    assert (gone["peer"], gone["is_configured"]) == ("gone", False)


def test_who_failed_after_the_last_success_is_failing():
    assert not is_failing(status())
    assert is_failing(status(error_at=5.0))
    assert is_failing(status(success=4.0, error_at=5.0))
    assert not is_failing(status(success=6.0, error_at=5.0))


def test_the_line_for_systemd_names_who_fails():
    known = [status("a", received=3), status("b", sent=2, error_at=1.0)]
    assert summarize(1, known, is_refused=False) == "1 connections; 3 elements received, 2 sent; failing: b"
    assert summarize(0, [], is_refused=True).endswith("; the last reload was refused")


def test_counters_are_summed_and_subtracted():
    assert sum_moved([status(received=1), status(sent=2)]) == (10, 200)
    before, after = TransferCounters(1, 2, 3, 4, 5, 6), TransferCounters(2, 4, 6, 8, 10, 12, "now")
    assert subtract_counters(after, before) == TransferCounters(1, 2, 3, 4, 5, 6, "now")
