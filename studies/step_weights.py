"""Whether ms-swift reads what `step-weights` writes: each token's loss weight, by ms-swift's own loader and template.

In an environment of its own, which needs nothing of this project (`pip install ms-swift==4.6.0`):

    python studies/step_weights.py train.jsonl --tokenizer MODEL_DIRECTORY

Raises AssertionError where a token has not the weight of its step.
"""

import argparse
import json
import math
from itertools import groupby
from pathlib import Path
from typing import Any

from swift import get_processor, get_template
from swift.dataset import load_dataset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--tokenizer", required=True, help="directory of a model")
    parser.add_argument("--template", default="chatml")
    given = parser.parse_args()
    written = [json.loads(line)["messages"] for line in given.weights.read_text(encoding="utf-8").splitlines()]
    dataset, _ = load_dataset(str(given.weights), load_from_cache_file=False)
    assert len(dataset) == len(written)
    processor = get_processor(given.tokenizer, model_type="llama", download_model=False)
    for chat in (True, False):
        template = template_of(processor, given.template, chat, is_binary=False)
        encoded = [template.encode(dict(row)) for row in dataset]
        trained = [check(processor, steps, made, chat) for steps, made in zip(written, encoded, strict=True)]
        tokens = sum(count for count, _ in trained)
        print(
            f"{'chat template' if chat else 'plain text'}: {len(dataset)} documents, {tokens:,} weighted tokens, mean "
            f"weight {sum(total for _, total in trained) / tokens:.4f}; every token has the weight of its step"
        )
    show(processor, encoded[0])
    default = template_of(processor, given.template, True, is_binary=None).encode(dict(dataset[0]))
    print(f"without --is_binary_loss_scale false: loss_scale is {default.get('loss_scale')}")


def template_of(processor: Any, kind: str, chat: bool, is_binary: bool | None) -> Any:
    template = get_template(processor, template_type=kind, use_chat_template=chat, is_binary_loss_scale=is_binary)
    template.set_mode("train")
    return template


def check(processor: Any, steps: list[dict[str, Any]], made: dict[str, Any], chat: bool) -> tuple[int, float]:
    """Weighted tokens of a document, and the sum of their weights."""
    ids, labels, weights = made["input_ids"], made["labels"], made["loss_scale"]
    assert len(ids) == len(labels) == len(weights)
    response = [(step["content"], step["loss_scale"]) for step in steps if step["role"] == "assistant"]
    # ms-swift tokenizes neighbours of one weight together.
    expected = [
        (weight, "".join(text for text, _ in some)) for weight, some in groupby(response, key=lambda step: step[1])
    ]
    tokens = list(zip(ids, labels, weights, strict=True))
    at = len(tokens) - len(tokens_after_prompt(processor, tokens, "".join(text for text, _ in response)))
    for weight, text in expected:
        length = len(processor.encode(text, add_special_tokens=False))
        step = tokens[at : at + length]
        assert processor.decode([token for token, _, _ in step]) == text
        # The first token of all has no loss.
        of_step = step[at == 0 :]
        # Its reader of JSON may round the last digit.
        assert all(math.isclose(found, weight, rel_tol=1e-12) for _, _, found in of_step), (text, weight, of_step)
        assert all(label == (token if weight > 0 else -100) for token, label, _ in of_step)
        at += length
    counted = [weight for _, _, weight in tokens[:at] if weight]
    return len(counted), sum(counted)


def tokens_after_prompt(processor: Any, tokens: list[Any], response: str) -> list[Any]:
    """The tokens from the response on: the first place from which their text begins with it."""
    for start in range(len(tokens)):
        if processor.decode([token for token, _, _ in tokens[start:]]).startswith(response):
            return tokens[start:]
    raise AssertionError("the response is not there")


def show(processor: Any, made: dict[str, Any]) -> None:
    by_weight = groupby(zip(made["input_ids"], made["loss_scale"], strict=True), key=lambda token: token[1])
    for weight, some in by_weight:
        print(f"{weight:8.4f} {processor.decode([token for token, _ in some])!r}")


if __name__ == "__main__":
    main()
