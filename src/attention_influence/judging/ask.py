"""Many requests to a judge at once; each answer is kept as soon as it comes."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from attention_influence.errors import JudgeError
from attention_influence.judging.prompt import Prompt
from attention_influence.judging.verdicts import KeptVerdicts, Verdict

# Failures with no answer between them, after which the endpoint is taken to be down.
_MOST_IN_A_ROW = 5


class Judge(Protocol):
    """Who answers."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """What its answers depend on, besides the prompt; holds no secret."""

    async def ask(self, prompt: Prompt) -> Verdict:
        """Its verdict, outcome `failed` where this one request cannot be answered.

        Raises JudgeError when no request will be.
        """

    async def close(self) -> None:
        """Ends its connections."""


def ask_all(
    judge: Judge,
    prompts: Mapping[str, Prompt],
    kept: KeptVerdicts,
    at_once: int,
    advance: Callable[[float], None] = lambda requests: None,
) -> dict[str, Verdict]:
    """The verdict of each prompt by its key, at most `at_once` asked at the same time, in the order of the prompts.

    Verdicts are kept, failures are not. Raises JudgeError when the judge can no longer be asked; what it answered
    before is kept.
    """
    return asyncio.run(_ask_all(judge, prompts, kept, at_once, advance))


async def _ask_all(
    judge: Judge, prompts: Mapping[str, Prompt], kept: KeptVerdicts, at_once: int, advance: Callable[[float], None]
) -> dict[str, Verdict]:
    found: dict[str, Verdict] = {}
    in_a_row = 0

    async def work(remaining: Iterator[tuple[str, Prompt]]) -> None:
        nonlocal in_a_row
        for key, prompt in remaining:
            verdict = await judge.ask(prompt)
            found[key] = verdict
            if verdict.outcome == "failed":
                in_a_row += 1
                if in_a_row >= _MOST_IN_A_ROW:
                    raise JudgeError(
                        f"{in_a_row} requests in a row failed, the last with: {verdict.said}. What was answered is "
                        "kept: run the same command again when the judge answers"
                    )
            else:
                in_a_row = 0
                kept.keep(key, verdict)
            advance(1)

    remaining = iter(prompts.items())
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(at_once, len(prompts))):
                group.create_task(work(remaining))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    finally:
        await judge.close()
    return found
