"""The options of each subcommand: frozen dataclasses whose attribute docstrings are the help texts."""

from attention_influence.config.experiment import ExperimentConfig
from attention_influence.config.explaining import ExplainConfig
from attention_influence.config.harness import LmEvalConfig
from attention_influence.config.heads import DetectConfig, StabilityConfig, ValidateConfig
from attention_influence.config.judging import JudgeConfig
from attention_influence.config.model import LoadOptions, ModelOptions, Precision
from attention_influence.config.pages import DemoConfig, ReportConfig
from attention_influence.config.scoring import (
    DistillConfig,
    EstimateConfig,
    ScoreConfig,
    ScorerOptions,
    ScreenOptions,
    StatusConfig,
)
from attention_influence.config.selection import AnnotateConfig, CompareConfig, SelectConfig, StepWeightsConfig

__all__ = [
    "AnnotateConfig",
    "CompareConfig",
    "DemoConfig",
    "DetectConfig",
    "DistillConfig",
    "EstimateConfig",
    "ExperimentConfig",
    "ExplainConfig",
    "JudgeConfig",
    "LmEvalConfig",
    "LoadOptions",
    "ModelOptions",
    "Precision",
    "ReportConfig",
    "ScoreConfig",
    "ScorerOptions",
    "ScreenOptions",
    "SelectConfig",
    "StabilityConfig",
    "StatusConfig",
    "StepWeightsConfig",
    "ValidateConfig",
]
