"""Work in threads wakes whoever polls, and its results and news are taken once."""

import os
import select
import threading

from guerillabackup.generator.crew import MAX_NEWS, Crew


def take(crew, count):
    """So many results, and the news that came with them."""
    poll = select.poll()
    poll.register(crew.descriptor, select.POLLIN)
    results, news = [], []
    while len(results) < count:
        assert poll.poll(60_000)
        more_results, more_news = crew.take()
        results += more_results
        news += more_news
    return results, news


def test_each_result_is_taken_once_and_the_thread_has_a_name():
    crew = Crew()
    for number in range(20):
        crew.start(f"U{number}", lambda: threading.current_thread().name)
    results, _ = take(crew, 20)
    assert sorted(results) == sorted((f"U{number}", f"unit-U{number}") for number in range(20))
    assert crew.take() == ([], [])


def test_what_a_thread_tells_comes_with_its_result_at_the_latest():
    crew = Crew()

    def work():
        for number in range(100):
            crew.tell(number)
        return "done"

    crew.start("A", work)
    results, news = take(crew, 1)
    assert (results, news) == ([("A", "done")], list(range(100)))


def test_news_that_nobody_takes_fill_no_memory():
    crew = Crew()
    for number in range(MAX_NEWS + 10):
        crew.tell(number)
    assert crew.take() == ([], list(range(10, MAX_NEWS + 10)))


def test_a_forked_child_that_comes_back_ends_and_gives_no_result():
    crew = Crew()
    read_end, write_end = os.pipe()

    def work():
        if os.fork() == 0:
            os.close(read_end)
            return "child"
        return "parent"

    crew.start("A", work)
    assert take(crew, 1)[0] == [("A", "parent")]
    os.close(write_end)
    assert os.read(read_end, 1) == b""  # the child has ended
    os.wait()
    assert crew.take() == ([], [])
    os.close(read_end)
