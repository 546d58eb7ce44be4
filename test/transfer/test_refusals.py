"""What was refused is left alone for a while, longer each time."""

from guerillabackup.transfer import refusals
from guerillabackup.transfer.refusals import FIRST_PAUSE, LONGEST_PAUSE, ONE_BY_ONE, Refusals
from guerillabackup.transfer.refused_file import list_refused


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_each_refusal_of_the_same_element_doubles_its_pause():
    clock = Clock()
    refused = Refusals(clock)
    assert not refused.must_wait(b"a")
    for turn in range(20):
        assert refused.add(b"a", "bad").count == turn + 1
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**turn)
        clock.now += pause - 1
        assert refused.must_wait(b"a")
        clock.now += 1
        assert not refused.must_wait(b"a")
    assert not refused.must_wait(b"b")


def test_what_was_taken_after_all_begins_anew():
    refused = Refusals(Clock())
    refused.add(b"a", "bad")
    refused.forget(b"a")
    refused.forget(b"a")
    assert not refused.must_wait(b"a")
    assert refused.add(b"a", "bad").count == 1


def test_no_more_are_remembered_than_the_limit(monkeypatch):
    monkeypatch.setattr(refusals, "MAX_REMEMBERED", 3)
    refused = Refusals(Clock())
    for key in (b"a", b"b", b"c", b"a", b"d"):
        refused.add(key, "bad")
    assert refused.count() == 3
    assert [key for key in (b"a", b"b", b"c", b"d") if refused.must_wait(key)] == [b"a", b"c", b"d"]


def test_a_reason_is_remembered_as_far_as_it_is_short():
    assert len(Refusals().add(b"key", "x" * 500_000).reason) == 200


def test_after_an_interrupted_group_the_next_elements_go_one_by_one():
    refusals = Refusals()
    assert not refusals.take_one_by_one()
    refusals.group_interrupted()
    assert [refusals.take_one_by_one() for _ in range(ONE_BY_ONE + 1)] == [True] * ONE_BY_ONE + [False]


def test_what_was_refused_outlives_the_process_until_other_settings_or_somebody_wants_it(tmp_path):
    clock = Clock()
    clock.now = 1000.0
    directory = str(tmp_path / "state" / "agents" / "default" / "refused")

    def begin():
        refusals = Refusals(clock, directory, "o dd/é")
        refusals.judged_by("these")
        return refusals

    first = begin()
    first.add(b"a", "no room", "/s/1", "/s")
    first.add(b"b", "no room", "/s/2", "/s")
    first.save()
    second = begin()
    assert second.must_wait(b"a")
    assert second.must_wait(b"b")
    told = list_refused(str(tmp_path / "state"))
    assert {(each["peer"], each["element"], each["source"]) for each in told} == {
        ("o dd/é", "/s/1", "/s"),
        ("o dd/é", "/s/2", "/s"),
    }
    assert {each["next_try"] for each in told} == {1000 + FIRST_PAUSE}
    second.forget(b"a")
    second.save()
    third = begin()
    assert not third.must_wait(b"a")
    assert third.must_wait(b"b")
    third.judged_by("others")
    assert not third.must_wait(b"b")
    assert third.add(b"b", "no room").count == 1
    third.retry()
    assert not third.must_wait(b"b")


def test_a_damaged_memory_is_forgotten_with_a_warning_and_a_lacking_one_without(tmp_path, caplog):
    directory = str(tmp_path / "refused")
    Refusals(Clock(), directory, "alpha")
    assert not caplog.records
    refusals = Refusals(Clock(), directory, "alpha")
    refusals.add(b"a", "bad")
    path = tmp_path / "refused" / "alpha.json"
    whole = path.read_bytes()
    for content in (b"", whole[:-5], b"[]", b"{}", whole.replace(b'"61"', b'"6"'), b"[" * 100_000):
        path.write_bytes(content)
        caplog.clear()
        assert not Refusals(Clock(), directory, "alpha").must_wait(b"a")
        assert "is forgotten, and tried again" in caplog.records[0].getMessage()
    path.write_bytes(whole)
    assert Refusals(Clock(), directory, "alpha").must_wait(b"a")


def test_nothing_waits_when_the_clock_was_set_back():
    clock = Clock()
    clock.now = 1e9
    refusals = Refusals(clock)
    refusals.add(b"a", "bad")
    clock.now = 1e6
    assert not refusals.must_wait(b"a")


def test_what_the_peer_offers_no_more_is_told_no_more_and_forgotten_in_the_end(tmp_path):
    clock = Clock()
    clock.now = 1000.0
    refusals = Refusals(clock, str(tmp_path / "agents" / "default" / "refused"), "alpha")
    refusals.add(b"a", "bad")
    clock.now += 1
    refusals.list_ended(clock.now)
    refusals.save()
    assert list_refused(str(tmp_path)) == []
    assert refusals.must_wait(b"a"), "it may come again"
    refusals.save()
    assert len(list_refused(str(tmp_path))) == 1
    clock.now += 3 * LONGEST_PAUSE
    refusals.list_ended(clock.now)
    assert refusals.count() == 0


def test_what_cannot_be_remembered_is_said_once_and_waits_all_the_same(tmp_path, caplog):
    (tmp_path / "refused").write_text("in the way")
    refusals = Refusals(Clock(), str(tmp_path / "refused"), "alpha")
    for _ in range(3):
        refusals.add(b"a", "bad")
        refusals.save()
    assert refusals.must_wait(b"a")
    assert len([each for each in caplog.records if "not remembered" in each.getMessage()]) == 1
