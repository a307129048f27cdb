"""OpenAI-compatible servers: a client, and what goes wrong with one said in a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Generic, NamedTuple, TypeVar

import openai
from pydantic import BaseModel, ValidationError

from duogen.errors import DuoGenError, first_fault

Form = TypeVar("Form", bound=BaseModel)


class Said(NamedTuple, Generic[Form]):
    """What a model said: the answer, None where none was of the schema; every raw text, in order; and what was wrong with the last."""

    answer: Form | None
    raw: list[str]
    fault: str


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
    except json.JSONDecodeError as error:
        raise DuoGenError(f"{server} answers, but not as a chat model does; is its address right?") from error
    except Exception as error:
        # A stream that breaks off raises whatever the HTTP library below has for it.
        if type(error).__module__.partition(".")[0] in ("httpx", "httpx2", "httpcore", "httpcore2"):
            raise DuoGenError(f"{server} broke off ({first_line(error)}){then}") from error
        raise


def structured(
    client: openai.OpenAI,
    name: str,
    messages: list[dict[str, Any]],
    schema: type[Form],
    tries: int,
    options: dict[str, Any],
) -> Said[Form]:
    """Asks a model for JSON of a schema; an answer that isn't of it is shown to the model again, with what was wrong.

    Args:
        options: further arguments of ``chat.completions.create``.

    Raises:
        DuoGenError: the server can't be used.
    """
    form = {
        "type": "json_schema",
        "json_schema": {"name": schema.__name__, "schema": schema.model_json_schema(), "strict": False},
    }
    raw: list[str] = []
    fault, create, messages = "", client.chat.completions.create, list(messages)
    for _ in range(tries):
        with explained(f"{name} at {client.base_url}"):
            made: Any = create(model=name, messages=messages, response_format=form, **options)  # type: ignore[call-overload]
        try:
            said = (made.choices[0].message.content or "") if made.choices else ""
        except (AttributeError, TypeError, LookupError) as error:
            raise DuoGenError(
                f"{client.base_url} answers, but not as a chat model does; is its address right?"
            ) from error
        said = said if isinstance(said, str) else repr(said)
        raw.append(said)
        try:
            return Said(schema.model_validate_json(_bare(said)), raw, "")
        except ValidationError as error:
            fault = first_fault(error, "the answer")
            told = f"That can't be used: {fault}. Answer again, with JSON of the schema alone."
            messages += [{"role": "assistant", "content": said}, {"role": "user", "content": told}]
    return Said(None, raw, f"{tries} answers weren't of the schema: {fault}")


def _bare(said: str) -> str:
    """JSON without the fence that some models put around it; as it is where anything else is said, or a key twice."""
    text = said.strip()
    if text.startswith("```"):
        body, _, behind = text.partition("\n")[2].rpartition("```")
        text = text if behind.strip() else body.strip()
    try:
        json.loads(text, object_pairs_hook=_once)
    except KeyError as error:
        return f"the key {error} stands there twice"
    except (ValueError, RecursionError):
        pass  # the schema says better what is wrong
    return text


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise KeyError(next(key for key in found if sum(key == other for other, _ in pairs) > 1))
    return found


def first_line(error: Exception) -> str:
    """What a server said about a fault, up to 300 characters."""
    return (str(getattr(error, "message", "") or error).splitlines() or [type(error).__name__])[0][:300]
