"""OpenAI-compatible servers: a client, and what goes wrong with one said in a line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import openai

from duogen.errors import DuoGenError


def connect(
    base_url: str | None = None, api_key: str | None = None, timeout: float = 120.0, retries: int = 4
) -> openai.OpenAI:
    """A client of a server.

    Args:
        base_url: with its ``/v1``; OpenAI's own, or ``OPENAI_BASE_URL``, where it is None.
        api_key: ``OPENAI_API_KEY`` where it is None; servers on this machine mostly want none.
        timeout: seconds to wait for the server to go on.
        retries: how often a request that failed, or came too early, is made again; the server says when.

    Raises:
        DuoGenError: there is no key for a server that needs one.
    """
    key = api_key or (None if base_url is None else "none")
    try:
        return openai.OpenAI(base_url=base_url, api_key=key, timeout=timeout, max_retries=retries)
    except openai.OpenAIError as error:
        raise DuoGenError(f"the chat model can't be used: {first_line(error)}") from error


@contextmanager
def explained(server: str, then: str = "") -> Iterator[None]:
    """Raises what goes wrong with a server as a `DuoGenError`.

    Args:
        then: what can be done about a fault that passes, such as "; the run can be continued".
    """
    try:
        yield
    except openai.APITimeoutError as error:
        raise DuoGenError(f"{server} didn't answer in time{then}") from error
    except openai.RateLimitError as error:
        raise DuoGenError(f"{server} takes no more requests for now{then and then + ' later'}") from error
    except openai.APIConnectionError as error:
        raise DuoGenError(f"{server} can't be reached ({first_line(error)})") from error
    except openai.OpenAIError as error:
        raise DuoGenError(f"{server} refused: {first_line(error)}") from error
    except Exception as error:
        # A stream that breaks off raises whatever the HTTP library below has for it.
        if type(error).__module__.partition(".")[0] in ("httpx", "httpx2", "httpcore", "httpcore2"):
            raise DuoGenError(f"{server} broke off ({first_line(error)}){then}") from error
        raise


def first_line(error: Exception) -> str:
    """What a server said about a fault, up to 300 characters."""
    return (str(getattr(error, "message", "") or error).splitlines() or [type(error).__name__])[0][:300]
