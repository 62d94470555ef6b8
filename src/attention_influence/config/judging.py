"""Options of the subcommand that has a language model judge documents."""

from dataclasses import dataclass, field

from attention_influence.config.model import LoadOptions
from attention_influence.config.options import POSITIONAL, RARELY


@dataclass(frozen=True, kw_only=True)
class JudgeConfig(LoadOptions):
    """Ask a language model whether the documents that rankings pick are educational, and whether they reason."""

    store: str = field(metadata=POSITIONAL)
    """score store; or the folder of a selection, whose choice is judged too, and whose sizes the rankings then take"""
    rank_by: tuple[str, ...] = ()
    """rankings to compare, as in `select`; several by commas or again; with random among them, each is compared with it
    (default: influence,random; with a selection: random)"""
    top: float = 0.2
    """share of each domain that each ranking picks, where a store is given"""
    sample: int = 200
    """documents to judge of each domain and ranking, drawn at random from what it picks"""
    repeats: int = 1
    """times that each document is judged, to measure how far the judge agrees with itself"""
    seed: int = 0
    """random seed of the sample, and of the rankings random and controlled"""
    max_characters: int = 8_000
    """characters of a document that are shown, from its beginning"""
    endpoint: str | None = None
    """address of a server that speaks the protocol of OpenAI's chat completions, such as https://api.openai.com/v1"""
    judge_model: str | None = None
    """the judge's name at the endpoint"""
    key_variable: str | None = None
    """environment variable that holds the endpoint's key (default: OPENAI_API_KEY, if it is set)"""
    request: tuple[str, ...] = ()
    """KEY=VALUE, a further field of each request, the value as JSON or else text, such as temperature=0 or
    max_tokens=50; may be given several times"""
    concurrency: int = 8
    """requests at the same time"""
    model: str | None = None
    """hub id, directory or .gguf file of a local model that judges in place of an endpoint, by its P(true)"""
    dry_run: bool = False
    """draw the sample, print what judging it takes, and ask nothing"""
    out: str = "judge.json"
    """where to write shares, intervals and every verdict"""
    timeout: float = field(default=120.0, metadata=RARELY)
    """seconds after which a request is tried again"""
    attempts: int = field(default=7, metadata=RARELY)
    """times that a request is made before it counts as failed"""
