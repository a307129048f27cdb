"""Errors that are meant for the person at the keyboard: one or two lines, what was wrong and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class DuoGenError(Exception):
    """Anything that DuoGen can explain. The command line prints the message and exits with `exit_code`."""

    exit_code = 1


class InputError(DuoGenError):
    """The request itself can't be used: a missing file, a text that is no picture, an impossible size."""

    exit_code = 2


def first_fault(error: ValidationError, whole: str = "") -> str:
    """What is wrong, in a line: where, and why. `whole`: what to call the place where all of it is meant."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"])) or whole
    why = str(first["msg"]).removeprefix("Value error, ")
    return f"{where}: {why}" if where else why


def not_installed(package: str, extra: str) -> DuoGenError:
    """Says which extra brings a package that is missing."""
    return DuoGenError(f'{package} isn\'t installed; it comes with: pip install "duogen[{extra}]"')


def needed(extra: str, *modules: str) -> None:
    """Raises `not_installed` where one of these modules is missing, without importing any."""
    from importlib.util import find_spec

    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise not_installed(", ".join(missing), extra)
