from hypothesis import given
from hypothesis import strategies as st

from guerillabackup.errors import BrokenOutputError, PipelineError, UnreadInputError
from guerillabackup.pipeline.interface import StageCounts
from guerillabackup.pipeline.stall import StallWatch, find_cause


def test_the_quiet_time_counts_from_the_last_change_of_any_stage():
    watch = StallWatch(100.0)
    idle = StageCounts(5, 5)
    assert watch.observe(101.0, (idle, StageCounts(1, 0))) == 0
    assert watch.observe(110.0, (idle, StageCounts(1, 0))) == 9
    assert watch.observe(111.0, (idle, StageCounts(1, 1))) == 0
    assert watch.observe(115.0, (idle, StageCounts(1, 1))) == 4


def test_processor_time_alone_is_a_sign_of_life():
    watch = StallWatch(0.0)
    watch.observe(1.0, (StageCounts(-1, -1, 0.1),))
    assert watch.observe(50.0, (StageCounts(-1, -1, 0.2),)) == 0


kinds = st.sampled_from([PipelineError, UnreadInputError, BrokenOutputError])


@given(st.dictionaries(st.integers(0, 9), kinds, min_size=1))
def test_the_cause_is_the_first_own_failure_of_a_stage(errors):
    failures = {index: kind(str(index)) for index, kind in errors.items()}
    cause = find_cause(failures)
    own = [index for index, kind in errors.items() if kind is PipelineError]
    unread = [index for index, kind in errors.items() if kind is UnreadInputError]
    assert str(cause) == str(min(own or unread or errors))
