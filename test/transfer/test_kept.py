from guerillabackup.transfer.kept import Kept


def test_what_is_equal_gets_the_same_and_nothing_is_made_twice():
    kept, made = Kept(), []

    def make():
        made.append(object())
        return made[-1]

    first = kept.get(({"a": [1]}, 2), make)
    assert kept.get(({"a": [1]}, 2), make) is first
    assert kept.get(({"a": [2]}, 2), make) is not first
    assert len(made) == 2


def test_what_could_not_be_made_is_tried_again():
    kept = Kept()
    try:
        kept.get("key", lambda: 1 // 0)
    except ZeroDivisionError:
        pass
    assert kept.get("key", lambda: 5) == 5
