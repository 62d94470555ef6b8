"""What a selection says of each domain: what it had, what was chosen, and where it was cut."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from attention_influence.selection.candidates import Candidates
from attention_influence.selection.cuts import Cuts
from attention_influence.selection.tally import Tally


@dataclass(frozen=True)
class LengthBin:
    """A domain's documents of some lengths, as a selection by length bins took of them."""

    fewest: int
    """Tokens of the shortest that belong to it."""
    most: int
    ranked: int
    chosen: int
    tokens: int
    """Of the ranked documents."""
    tokens_chosen: int
    threshold: float | int | None
    """The ranking's value of the last chosen document; None when none is, or documents were drawn."""


@dataclass(frozen=True)
class Threshold:
    """One domain's share in a selection.

    A ranked document is chosen when its value comes before `value` (is above it; for a ranking with the lowest first,
    below), or equals it and its tie hash is at most `tie_hash`.
    """

    domain: str
    value: float | int | None
    """The ranking's value of the last chosen document; None when none is, or no single value decides: when documents
    were drawn, or chosen by length bins."""
    tie_hash: int | None
    documents: int
    ranked: int
    """Documents whose scores are finite; the others are never chosen."""
    unranked: dict[str, int]
    """Reason → documents."""
    chosen: int
    tokens: int
    """Tokens of the ranked documents."""
    tokens_chosen: int
    lengths: tuple[LengthBin, ...] = ()
    """Its length bins, shortest first, where they were chosen from one by one."""

    def to_json(self) -> dict[str, Any]:
        record = {"threshold" if name == "value" else name: value for name, value in vars(self).items()}
        # As text: many readers of JSON round integers beyond 53 bits.
        record["tie_hash"] = None if self.tie_hash is None else f"{self.tie_hash:016x}"
        record["lengths"] = [vars(length) for length in self.lengths]
        return record


def thresholds(tally: Tally, cuts: Cuts, candidates: Candidates, drawn: bool) -> tuple[Threshold, ...]:
    """Those of all domains, by name; without values where documents were `drawn`."""
    documents, tokens = tally.histogram.totals(len(tally.groups.all))

    def value(number: int) -> Any:
        if drawn or not cuts.documents[number]:
            return None
        return candidates.read(int(cuts.place[number]), 1)["value"][0].item()

    def length_bin(number: int) -> LengthBin:
        fewest, most = tally.groups.all[number].lengths
        return LengthBin(
            fewest,
            most,
            ranked=int(documents[number]),
            chosen=int(cuts.documents[number]),
            tokens=int(tokens[number]),
            tokens_chosen=int(cuts.tokens[number]),
            threshold=value(number),
        )

    def of_domain(name: str, numbers: Sequence[int]) -> Threshold:
        unranked = dict(sorted(tally.unranked[name].items()))
        ranked = int(documents[numbers].sum())
        single = not tally.groups.by_length and value(numbers[0]) is not None
        return Threshold(
            domain=name,
            value=value(numbers[0]) if single else None,
            tie_hash=int(cuts.hash[numbers[0]]) if single else None,
            documents=ranked + sum(unranked.values()),
            ranked=ranked,
            unranked=unranked,
            chosen=int(cuts.documents[numbers].sum()),
            tokens=int(tokens[numbers].sum()),
            tokens_chosen=int(cuts.tokens[numbers].sum()),
            lengths=tuple(length_bin(n) for n in numbers if documents[n]) if tally.groups.by_length else (),
        )

    by_domain: dict[str, list[int]] = {}
    for number, group in sorted(enumerate(tally.groups.all), key=lambda item: item[1]):
        by_domain.setdefault(group.domain, []).append(number)
    return tuple(of_domain(name, numbers) for name, numbers in by_domain.items())
