"""The one exception for a study that cannot be read, opened or continued as the user asked."""


class StudyError(ValueError):
    """What the user gave does not fit: one line that names the thing, the rule and the value."""
