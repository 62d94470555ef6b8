"""An explanation on a terminal: in colours where they are wanted, else as plain tables, in whatever width there is."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from attention_influence.commands.printing.result import MOST_LINES
from attention_influence.report.explanation import in_context, pieces_in
from attention_influence.report.sections.colours import LEVELS, level_of
from attention_influence.report.visible import TEXT_LIMIT, label, visible

if TYPE_CHECKING:  # torch takes seconds
    from attention_influence.scoring.explain import Explanation, Raised

# By colour, for backgrounds of any brightness: weak rises colour the letters, strong ones what is behind them.
_STYLES = {
    0: "black on #9fc1e8",
    1: "#4f86c6",
    3: "#b87d0b",
    4: "black on #fbdcb0",
    5: "black on #f6bd79",
    6: "black on #ee7d2d",
}
_STYLES_OF_16 = {
    0: "black on cyan",
    1: "cyan",
    3: "yellow",
    4: "black on white",
    5: "black on yellow",
    6: "white on red",
}
_HEADS_SHOWN = 3
"""Of each token."""
_NARROW = 60
"""Columns below which names and values, and losses and contexts, are on lines of their own."""
_LEAST_CONTEXT = 24
"""Columns below which a token's context stands on the next line."""


def explanation_text(
    explanation: "Explanation", about: Mapping[str, str], warnings: Sequence[str], page: str | None
) -> str:
    """What is printed of an explanation."""
    terminal = Console(highlight=False)
    is_coloured = terminal.is_terminal and not terminal.is_dumb_terminal and not terminal.no_color
    console = Console(
        width=terminal.width,
        color_system=terminal.color_system if is_coloured else None,  # type: ignore[arg-type]
        force_terminal=is_coloured,
        highlight=False,
        markup=False,
        emoji=False,
    )
    with console.capture() as capture:
        _print(console, explanation, about, is_coloured)
        for warning in warnings:
            console.print(f"warning: {warning}")
        if page is not None:
            console.print(f"written: {page}", soft_wrap=True)
        else:
            console.print("--out PAGE.html shows every token and head, --json gives them as data")
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def _print(console: Console, explanation: "Explanation", about: Mapping[str, str], is_coloured: bool) -> None:
    score = explanation.score
    influence = "none: " + (score.flag or "") if score.influence is None else f"{score.influence:.4f}"
    facts = {
        "influence": f"{influence} (loss {score.loss_base:.4f}, {score.loss_ref:.4f} with the heads masked)",
        **about,
    }
    if console.width < _NARROW:
        for name, value in facts.items():
            console.print(Text(f"{name}: {label(value)}", overflow="fold"))
    else:
        console.print(_grid([(Text(name), Text(label(value))) for name, value in facts.items()]))
    if is_coloured:
        console.print()
        console.print(_coloured(explanation, _styles(console)))
        console.print(_legend(_styles(console)))
    _print_raised(console, explanation)
    _print_heads(console, explanation)
    _print_windows(console, explanation)


def _styles(console: Console) -> Mapping[int, str]:
    return _STYLES_OF_16 if console.color_system in ("standard", "windows") else _STYLES


def _coloured(explanation: "Explanation", styles: Mapping[int, str]) -> Text:
    shown = Text(overflow="fold")
    left = TEXT_LIMIT
    for window in explanation.windows:
        for characters, rise in pieces_in(explanation, window):
            if left > 0:
                shown.append(visible(characters[:left]), styles.get(level_of(rise), ""))
            left -= len(characters)
    shown.rstrip()
    if left < 0:
        shown.append(f" … [{TEXT_LIMIT:,} of {len(explanation.text):,} characters shown]", "dim")
    return shown


def _legend(styles: Mapping[int, str]) -> Text:
    bounds = [-math.inf, *LEVELS, math.inf]
    legend = Text("\nrise in nats: ")
    for level, style in styles.items():
        low, high = bounds[level], bounds[level + 1]
        shown = (
            f"below {high:g}" if low == -math.inf else f"above {low:g}" if high == math.inf else f"{low:g} to {high:g}"
        )
        legend.append(shown, style).append("  ")
    return legend


def _print_raised(console: Console, explanation: "Explanation") -> None:
    if not explanation.raised:
        console.print("\nNo token's loss rises.")
        return
    is_narrow = console.width < _NARROW
    console.print("\nTokens whose loss rises most (nats), in [[ ]]")
    rows = []
    for raised in explanation.raised:
        token = explanation.tokens[raised.position]
        losses = [] if is_narrow else [f"{token.loss_base:.2f}", f"{token.loss_ref:.2f}"]
        rows.append([f"+{token.rise:.2f}", *losses])
    headings = ["rise"] if is_narrow else ["rise", "base", "masked"]
    _print_with_contexts(console, explanation, headings, rows, [raised.position for raised in explanation.raised])
    alone = "alone: its rise when one head is masked; " if explanation.heads else ""
    console.print(
        f"\nWhere heads (layer.head) attend most when they predict it; {alone}same: the token itself, to copy"
    )
    if (more := len(explanation.raised[0].heads) - _HEADS_SHOWN) > 0:
        console.print(f"{_HEADS_SHOWN} heads of each token; {more:,} more")
    for raised in explanation.raised:
        _print_looks(console, explanation, raised)


def _print_looks(console: Console, explanation: "Explanation", raised: "Raised") -> None:
    context = in_context(explanation, raised.position)
    console.print(Text(f"+{explanation.tokens[raised.position].rise:.2f} [[{context.token}]]", "bold"))
    rows, positions = [], []
    for head in raised.heads[:_HEADS_SHOWN]:
        (look, *_) = head.looks
        alone = [] if head.rise is None else [f"{head.rise:+.2f}"]
        rows.append([f"{head.layer}.{head.head}", *alone, f"{look.weight:.0%}", "same" if look.is_same else ""])
        positions.append(look.position)
    alone = [] if raised.heads[0].rise is None else ["alone"]
    _print_with_contexts(console, explanation, ["  head", *alone, "weight", ""], rows, positions)


def _print_with_contexts(
    console: Console,
    explanation: "Explanation",
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    positions: Sequence[int | None],
) -> None:
    """A table whose last column takes the room that is left, for the tokens at the positions in their contexts."""
    widths = [max(map(len, column)) + 2 for column in zip(headings, *rows, strict=True)]
    room = console.width - sum(widths)
    is_apart = room < _LEAST_CONTEXT
    if is_apart:
        room = console.width - 4
    console.print("".join(heading.rjust(width - 2) + "  " for heading, width in zip(headings, widths, strict=True)))
    for row, position in zip(rows, positions, strict=True):
        line = Text("".join(cell.rjust(width - 2) + "  " for cell, width in zip(row, widths, strict=True)))
        if is_apart:
            line.append("\n    ")
        line.append_text(Text("the start") if position is None else _in_context(explanation, position, room))
        console.print(line, soft_wrap=True)


def _in_context(explanation: "Explanation", position: int, room: int) -> Text:
    """The token between as much text as there is room for: two thirds of it before."""
    context = in_context(explanation, position, room)
    token = f"[[{_cropped(context.token, room - 4)}]]"
    left = max(0, room - cell_len(token))
    after = _cropped(context.after, max(left // 3, left - cell_len(context.before)))
    before = _cropped(context.before[::-1], left - cell_len(after))[::-1]
    return Text.assemble(before, (token, "bold"), after)


def _cropped(text: str, cells: int) -> str:
    """The beginning of a text that fits."""
    taken = 0
    for place, character in enumerate(text):
        taken += cell_len(character)
        if taken > cells:
            return text[:place]
    return text


def _print_heads(console: Console, explanation: "Explanation") -> None:
    if not explanation.heads:
        return
    alone = sum(head.rise for head in explanation.heads)
    console.print("\nRise of the document's loss when one head alone is masked (nats/token)")
    shown = explanation.heads[:MOST_LINES]
    rows = [(Text(f"layer {head.layer} head {head.head}"), Text(f"{head.rise:+.4f}")) for head in shown]
    console.print(_grid(rows))
    if more := len(explanation.heads) - len(shown):
        console.print(f"the largest; {more:,} more")
    console.print(f"together {explanation.rise:+.4f}; alone they add up to {alone:+.4f}")


def _print_windows(console: Console, explanation: "Explanation") -> None:
    if len(explanation.windows) == 1:
        return
    console.print("\nWindows")
    shown = sorted(sorted(enumerate(explanation.windows, start=1), key=lambda one: -(one[1].rise or 0))[:MOST_LINES])
    table = Table(box=None, pad_edge=False, header_style="")
    for heading in ("window", "tokens", "base", "masked", "rise"):
        table.add_column(heading, justify="right", no_wrap=True)
    for number, window in shown:
        losses = [
            "–" if value is None else f"{value:.4f}" for value in (window.loss_base, window.loss_ref, window.rise)
        ]
        table.add_row(str(number), f"{window.end - window.first:,}", *losses)
    console.print(table)
    if more := len(explanation.windows) - len(shown):
        console.print(f"the largest rises; {more:,} more")


def _grid(rows: Sequence[tuple[Text, Text]]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(name, value)
    return grid
