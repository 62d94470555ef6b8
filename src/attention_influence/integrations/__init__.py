"""Scoring inside other tools' pipelines; each module needs its tool only when it is imported."""
