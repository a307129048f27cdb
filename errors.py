"""Errors that are meant for the person at the keyboard: one or two lines, what was wrong and what to do."""


class DuoGenError(Exception):
    """Anything that DuoGen can explain. The command line prints the message and exits with `exit_code`."""

    exit_code = 1


class InputError(DuoGenError):
    """The request itself can't be used: a missing file, a text that is no picture, an impossible size."""

    exit_code = 2
