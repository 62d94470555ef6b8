"""The options of each verb: frozen dataclasses whose attribute docstrings are the help texts."""

from attention_influence.config.heads import DetectConfig, StabilityConfig, ValidateConfig
from attention_influence.config.pages import DemoConfig, ReportConfig
from attention_influence.config.precision import Precision
from attention_influence.config.scoring import EstimateConfig, ScoreConfig, StatusConfig
from attention_influence.config.selection import AnnotateConfig, CompareConfig, SelectConfig

__all__ = [
    "AnnotateConfig",
    "CompareConfig",
    "DemoConfig",
    "DetectConfig",
    "EstimateConfig",
    "Precision",
    "ReportConfig",
    "ScoreConfig",
    "SelectConfig",
    "StabilityConfig",
    "StatusConfig",
    "ValidateConfig",
]
