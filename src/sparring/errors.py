"""The errors that are the user's to mend, told without a traceback."""


class UserError(ValueError):
    """A mistake in what was asked for: the message names the key, its value and what would be right."""


class TrainingDiverged(UserError):
    """A loss or a weight stopped being finite."""
