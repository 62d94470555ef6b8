"""`judge`: what a language model says of the documents that rankings pick (paper, appendix G)."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from attention_influence.commands.printing.judge_text import estimate_text, result_text
from attention_influence.commands.printing.result import Result
from attention_influence.config import JudgeConfig
from attention_influence.config.options import split_names
from attention_influence.errors import CorpusError, UsageError
from attention_influence.evidence.judged import (
    Judged,
    agreement,
    length_shares,
    one_sided,
    order_effects,
    ranking_shares,
)
from attention_influence.judging.ask import Judge, ask_all
from attention_influence.judging.endpoint import EndpointJudge, checked_address, checked_key
from attention_influence.judging.prompt import QUESTIONS, VERSION, Prompt, prompt_for
from attention_influence.judging.sample import SELECTED, Sampled, choices, draw, open_store_or_selection
from attention_influence.judging.verdicts import OUTCOMES, KeptVerdicts, key_of
from attention_influence.progress import note, progress, stage
from attention_influence.report.texts import texts_at
from attention_influence.storage.atomic_files import write_json
from attention_influence.storage.cache import cache_folder
from attention_influence.storage.preflight import check_writable_file

_OWN_FIELDS = ("model", "messages", "stream")
_MANY_WITHOUT = 0.02
_DEFAULT_KEY = "OPENAI_API_KEY"
_CHARACTERS_PER_TOKEN = 4
_ANSWER_TOKENS = 15
_LOCAL_CAUTION = (
    "a local model's probabilities of true and false were compared: a small model or one without instruction tuning "
    "hardly follows the questions, so read the differences between rankings, not the shares"
)


def judge_command(config: JudgeConfig) -> Result:
    _check(config)
    if not config.dry_run:
        check_writable_file(config.out)
    with stage("drawing documents"):
        store, record = open_store_or_selection(config.store)
        names = split_names(config.rank_by) or (["random"] if record else ["influence", "random"])
        sampled = draw(choices(store, names, config.top, config.seed, record), config.sample, config.seed)
        texts, warnings = texts_at(store, [(one.source, one.row) for one in sampled])
    readable = [one for one in sampled if (one.source, one.row) in texts]
    if not readable:
        raise CorpusError(
            f"none of the {len(sampled):,} documents drawn from {store.url} can be read: {'; '.join(warnings)}"
        )
    judge = _judge(config)
    asked = [_prompts(texts[one.source, one.row], config, judge.identity) for one in readable]
    prompts = {key: prompt for of_document in asked for key, prompt in of_document.items()}
    kept = KeptVerdicts(cache_folder() / "verdicts.sqlite")
    known = {key: verdict for key in prompts if (verdict := kept.get(key))}
    remaining = {key: prompt for key, prompt in prompts.items() if key not in known}
    cost = _cost(prompts, remaining)
    if config.dry_run:
        return Result(estimate_text(cost, judge.identity), {"cost": cost, "documents": len(readable)})
    note(estimate_text(cost, judge.identity))
    with progress("judging", len(prompts), "requests", before=len(known)) as advance:
        found = known | ask_all(judge, remaining, kept, config.concurrency if config.endpoint else 1, advance)
    kept.close()
    judged = [
        Judged(one.domain, one.rankings, len(texts[one.source, one.row]), tuple(found[key] for key in keys))
        for one, keys in zip(readable, asked, strict=True)
    ]
    data = _data(config, [*([SELECTED] if record else []), *names], judged)
    data |= {
        "store": store.url,
        "fingerprint": store.run.get("fingerprint"),
        "judge": dict(judge.identity),
        "cost": cost,
        "unread": len(sampled) - len(readable),
    }
    data["warnings"] = [*_warnings(data), *warnings]
    data["documents"] = [_document(*pair) for pair in zip(readable, judged, strict=True)]
    write_json(config.out, data)
    return Result(f"{result_text(data)}\nwritten: {config.out}", data, exit_code=int(data["outcomes"]["failed"] > 0))


def _check(config: JudgeConfig) -> None:
    if not 0 < config.top <= 1:
        raise UsageError(f"--top is {config.top}; it is a share above 0 and at most 1, such as 0.2.")
    if (config.endpoint is None) == (config.model is None):
        raise UsageError("Give the judge: --endpoint with --judge-model, or --model for a local model.")
    if config.endpoint is None:
        for name in ("judge_model", "key_variable", "request"):
            if getattr(config, name):
                raise UsageError(f"--{name.replace('_', '-')} is for an --endpoint, and a local --model was given.")
        return
    if not config.judge_model:
        raise UsageError("--endpoint needs --judge-model, the name of the model there.")
    if config.timeout <= 0:
        raise UsageError(f"timeout is {config.timeout}; it is a number of seconds above 0.")
    checked_address(config.endpoint)
    _key(config)
    _fields(config.request)


def _judge(config: JudgeConfig) -> Judge:
    if config.endpoint is not None:
        return EndpointJudge(
            config.endpoint,
            config.judge_model or "",
            _key(config),
            _fields(config.request),
            timeout=config.timeout,
            attempts=config.attempts,
        )
    from attention_influence.commands.preparing.loading import load
    from attention_influence.judging.local import LocalJudge

    return LocalJudge(load(config.model or "", config))


def _key(config: JudgeConfig) -> str | None:
    """From the environment. Raises UsageError where a variable was asked for that is not set."""
    key = os.environ.get(config.key_variable or _DEFAULT_KEY)
    if config.key_variable and not key:
        raise UsageError(f"--key-variable {config.key_variable}: no such environment variable is set.")
    return checked_key(key)


def _fields(given: Sequence[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name or name in _OWN_FIELDS:
            raise UsageError(f"--request {text}: write KEY=VALUE, KEY none of {', '.join(_OWN_FIELDS)}.")
        try:
            fields[name] = json.loads(value)
        except ValueError:
            fields[name] = value
    return fields


def _prompts(text: str, config: JudgeConfig, judge: Mapping[str, Any]) -> dict[str, Prompt]:
    """Key → prompt of each repeat: which question comes first is by chance, and alternates from repeat to repeat."""
    shown = text[: config.max_characters]
    start = hashlib.sha256(f"{config.seed} {shown}".encode("utf-8", "replace")).digest()[0]
    prompts = {}
    for repeat in range(config.repeats):
        prompt = prompt_for(shown, QUESTIONS[(start + repeat) % len(QUESTIONS)])
        prompts[key_of(judge, prompt, repeat)] = prompt
    return prompts


def _cost(prompts: Mapping[str, Prompt], remaining: Mapping[str, Prompt]) -> dict[str, int]:
    characters = sum(len(prompt.system) + len(prompt.user) for prompt in remaining.values())
    return {
        "requests": len(remaining),
        "kept": len(prompts) - len(remaining),
        "input_tokens": characters // _CHARACTERS_PER_TOKEN,
        "output_tokens": _ANSWER_TOKENS * len(remaining),
    }


def _data(config: JudgeConfig, rankings: Sequence[str], judged: Sequence[Judged]) -> dict[str, Any]:
    verdicts = [verdict for one in judged for verdict in one.verdicts]
    outcomes = Counter(verdict.outcome for verdict in verdicts)
    return {
        "prompt": VERSION,
        "configuration": asdict(config),
        "rankings": list(rankings),
        "judged": len(judged),
        "cut": sum(one.characters > config.max_characters for one in judged),
        "shortened": sum(verdict.shortened for verdict in verdicts),
        "outcomes": {name: outcomes[name] for name in OUTCOMES},
        "shares": [asdict(one) for one in ranking_shares(judged, rankings)],
        "by_length": [asdict(one) for one in length_shares(judged, rankings)],
        "by_order": [asdict(one) for one in order_effects(judged)],
        "agreement": [asdict(one) for one in agreement(judged)],
        "one_sided": one_sided(judged),
    }


def _warnings(data: Mapping[str, Any]) -> Iterator[str]:
    if data["judge"]["kind"] == "local":
        yield _LOCAL_CAUTION
    for question in data["one_sided"]:
        yield f"the judge answers {question} nearly always alike, so its shares tell rankings hardly apart"
    for effect in data["by_order"]:
        interval = effect["difference"]["interval"]
        if interval and not interval[0] <= 0 <= interval[1]:
            yield (
                f"answers to {effect['question']} depend on whether it is asked first: {effect['first']['share']:.0%} "
                f"true when first, {effect['second']['share']:.0%} when second"
            )
        interval = effect["difference"]["probability_interval"]
        if interval and not interval[0] <= 0 <= interval[1]:
            yield (
                f"P(true) of {effect['question']} depends on whether it is asked first: "
                f"{effect['first']['probability']:.2f} when first, {effect['second']['probability']:.2f} when second"
                + ("; --repeats 2 takes the mean of both orders" if data["configuration"]["repeats"] == 1 else "")
            )
    without = sum(count for name, count in data["outcomes"].items() if name != "answered")
    total = sum(data["outcomes"].values())
    if without > _MANY_WITHOUT * total:
        yield f"{without:,} of {total:,} requests have no verdict, and shares are those of the others"


def _document(one: Sampled, judged: Judged) -> dict[str, Any]:
    return {**asdict(one), "characters": judged.characters, "verdicts": [asdict(each) for each in judged.verdicts]}
