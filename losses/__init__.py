"""What a loss is: formulas, families, specs, published losses, export."""

from losses import export
from losses.catalogue import families
from losses.checks import LossError
from losses.custom import AnyLoss, CustomLoss, load
from losses.family import Family, Range
from losses.literature import published
from losses.schedules import Schedule
from losses.spec import LossSpec

__all__ = [
    "AnyLoss",
    "CustomLoss",
    "Family",
    "LossError",
    "LossSpec",
    "Range",
    "Schedule",
    "export",
    "families",
    "load",
    "published",
]
