"""What a loss is: formulas, families, specs, published losses, export."""

from losses import export
from losses.checks import LossError
from losses.family import Family, Range, families
from losses.literature import published
from losses.schedules import Schedule
from losses.spec import LossSpec

__all__ = [
    "Family",
    "LossError",
    "LossSpec",
    "Range",
    "Schedule",
    "export",
    "families",
    "published",
]
