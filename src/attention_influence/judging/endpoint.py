"""A judge behind an HTTP endpoint that speaks the protocol of OpenAI's chat completions.

Waiting, retries and `Retry-After` are the `openai` client's: 408, 409, 429, 5xx, lost connections and timeouts are
tried again after 0.5 to 8 seconds, or as long as the endpoint says, up to two minutes.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from attention_influence.errors import JudgeError, UsageError
from attention_influence.judging.prompt import Prompt, read_answer
from attention_influence.judging.verdicts import Verdict

_NO_KEY = "none"  # the client insists on one; servers without keys ignore it
_SAID_CHARACTERS = 500
# No request will be answered: no right, no such path or model.
_HOPELESS = (401, 403, 404)
_FILTERED = "content_filter"


class EndpointJudge:
    """Asks `model` at `url`. The key is sent to the endpoint, and is in no message and in nothing that is kept.

    `fields` are added to the body of each request. Raises UsageError for an address that is none, or that holds
    credentials, and where the client is not installed.
    """

    def __init__(
        self,
        url: str,
        model: str,
        key: str | None,
        fields: Mapping[str, Any],
        *,
        timeout: float,
        attempts: int,
    ) -> None:
        try:
            import openai
        except ImportError:
            raise UsageError(
                "--endpoint needs the client of the protocol: pip install 'attention-influence[judge]'."
            ) from None
        self._openai = openai
        self._url, self._model, self._fields = checked_address(url), model, dict(fields)
        self._key = checked_key(key)
        self._client = openai.AsyncOpenAI(
            api_key=self._key or _NO_KEY, base_url=self._url, timeout=timeout, max_retries=attempts - 1
        )

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"kind": "endpoint", "endpoint": self._url, "model": self._model, "request": self._fields}

    async def ask(self, prompt: Prompt) -> Verdict:
        try:
            completion: Any = await self._client.chat.completions.create(
                model=self._model,
                messages=[
                    {"role": "system", "content": prompt.system},
                    {"role": "user", "content": prompt.user},
                ],
                extra_body=self._fields,
            )
        except self._openai.APIStatusError as error:
            return self._refused(error, prompt)
        except (self._openai.OpenAIError, ValueError) as error:
            because = f" ({error.__cause__})" if error.__cause__ else ""
            return self._failed(prompt, f"{type(error).__name__}: {error}{because}")
        try:
            choice = completion.choices[0]
            content, refusal = choice.message.content, getattr(choice.message, "refusal", None)
        except (AttributeError, IndexError, TypeError):
            return self._failed(prompt, f"no chat completion: {completion!s}")
        if refusal or choice.finish_reason == _FILTERED:
            return Verdict("refused", prompt.first, said=self._shown(str(refusal or content or _FILTERED)))
        content = content if isinstance(content, str) else ""
        if (answers := read_answer(content)) is None:
            return Verdict("malformed", prompt.first, said=self._shown(content))
        return Verdict("answered", prompt.first, answers)

    async def close(self) -> None:
        await self._client.close()

    def _refused(self, error: Any, prompt: Prompt) -> Verdict:
        said = f"{error.status_code} {self._shown(str(error.message))}"
        if error.status_code in _HOPELESS:
            # Not `from error`: it holds the request with its key, and what the endpoint repeats of it.
            raise JudgeError(
                f"{self._url} refuses requests for the model {self._model!r}: {said}. Check the address, which mostly "
                "ends in /v1, the model's name, and the variable that holds the key; what was answered is kept"
            ) from None
        if getattr(error, "code", None) == _FILTERED:
            return Verdict("refused", prompt.first, said=said)
        return Verdict("failed", prompt.first, said=said)

    def _failed(self, prompt: Prompt, said: str) -> Verdict:
        return Verdict("failed", prompt.first, said=self._shown(said))

    def _shown(self, said: str) -> str:
        """The beginning of what an endpoint says, which may repeat the key."""
        return (said.replace(self._key, "[key]") if self._key else said)[:_SAID_CHARACTERS]


def checked_address(url: str) -> str:
    """The address without a slash at its end. Raises UsageError, which does not repeat it, if it may hold a secret."""
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, is_address = urlsplit(""), False
    if not is_address:
        raise UsageError("--endpoint is no http or https address; it is such as https://api.openai.com/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError(
            "--endpoint holds a user, a password or a query, which would be written into results. Give the plain "
            "address, and the key in an environment variable"
        )
    return url.rstrip("/")


def checked_key(key: str | None) -> str | None:
    """The key without white space around it. Raises UsageError, which does not repeat it, if no header can hold it."""
    key = (key or "").strip()
    if not key.isascii() or not all(character.isprintable() and character != " " for character in key):
        raise UsageError("the key of the endpoint holds characters that no key has. Set its variable again")
    return key or None
