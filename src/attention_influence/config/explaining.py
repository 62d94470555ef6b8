"""Options of the subcommand that explains one document's score."""

from dataclasses import dataclass, field

from attention_influence.config.model import OTHER_NAMES, Precision
from attention_influence.config.options import POSITIONAL, SPELLINGS


@dataclass(frozen=True, kw_only=True)
class ExplainConfig:
    """Explain one document's score: which tokens it comes from, where the heads look, what each head does alone."""

    store: str | None = field(default=None, metadata=POSITIONAL)
    """score store of the document; also says which model, heads and window are used"""
    key: str | None = None
    """the document's key in the store, SOURCE:ROW"""
    id: str | None = None
    """the document's id in the store, in place of its key"""
    text: str | None = None
    """a text to explain, in place of a document of the store"""
    file: str | None = None
    """file or URL with the text to explain; - is standard input"""
    heads: str | None = None
    """heads to mask, as `detect` wrote them (default: the store's; without a store, heads.json)"""
    model: str | None = None
    """hub id, directory or .gguf file of the model (default: where the store's run had it)"""
    dtype: Precision | None = field(default=None, metadata={SPELLINGS: OTHER_NAMES})
    """precision of the model's weights (default: the store's; without a store, bfloat16)"""
    device: str | None = None
    """cpu, cuda, cuda:1 … (default: cuda if available, else cpu)"""
    revision: str | None = None
    """branch, tag or commit of a model on the hub; also as --model ID@REVISION"""
    trust_remote_code: bool = False
    """run code that the model brings along"""
    window: int | None = None
    """context in tokens, for a text without a store (default: the model's, 8,192 at most)"""
    tokens: int = 5
    """how many tokens, those whose loss rises most, are shown with where the heads look"""
    each_head: bool = True
    """also mask each head alone, each in a pass from its layer on"""
    out: str | None = None
    """HTML page of the whole explanation, with every token coloured"""
