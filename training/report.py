"""What a run says after each epoch. No torch: a coordinator reads reports and trains nothing."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochReport:
    """What one epoch came to.

    Attributes:
        epoch: Counted from 0.
        train_loss: Mean of the run's own loss over the epoch's training images.
        accuracy: On the scoring part after the epoch, in %.
        cross_entropy: Plain, on the scoring part, mean in nats.
        calibration_error: Expected calibration error (15 bins) there, in percentage points.
        seconds: Duration of training and scoring.
        gradient_ratio: Length of the loss's gradient by the logits over that of plain
            cross-entropy, on the first batch of the epoch. None where it was not measured, or
            where cross-entropy has no gradient left.
    """

    epoch: int
    train_loss: float
    accuracy: float
    cross_entropy: float
    calibration_error: float
    seconds: float
    gradient_ratio: float | None = None
