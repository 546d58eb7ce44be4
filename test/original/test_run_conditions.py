"""Conditions that configuration files name by their module."""

from guerillabackup.generator.conditions import find_obstacle
from guerillabackup.original.run_conditions import IUnitRunCondition, LogicalAndCondition


def test_a_condition_of_a_sites_own_is_one_of_ours():
    class Never(IUnitRunCondition):
        def evaluate(self):
            return False

    assert "Never" in find_obstacle(LogicalAndCondition([Never()]))
