"""How the clock stands to the start of the machine."""

from guerillabackup.generator.clock import read_anchor


def test_the_anchor_stays_where_it_is_while_nobody_sets_the_clock():
    first, second = read_anchor(), read_anchor()
    assert first is not None
    assert second is not None
    assert not second.was_set_back_since(first)
    assert not first.was_set_back_since(second)
