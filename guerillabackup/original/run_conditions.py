"""What the original's module UnitRunConditions offers. It joins the conditions with their interface."""

from guerillabackup.generator.conditions import (
    AverageLoadLimitCondition,
    LogicalAndCondition,
    MinPowerOnTimeCondition,
)
from guerillabackup.generator.interface import UnitRunConditionInterface as IUnitRunCondition

__all__ = [
    "AverageLoadLimitCondition",
    "IUnitRunCondition",
    "LogicalAndCondition",
    "MinPowerOnTimeCondition",
]
