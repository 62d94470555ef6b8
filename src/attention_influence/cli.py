"""The command line: a table of commands; parses, calls, prints."""

import argparse
import gc
import logging
import os
import platform
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from importlib import import_module
from importlib.metadata import version
from typing import Any, NamedTuple

from attention_influence import config
from attention_influence.config.help_examples import EXAMPLES
from attention_influence.config.options import from_arguments, to_yaml
from attention_influence.config.parser import HelpFormatter, PrintCompletion, add_options
from attention_influence.errors import AttentionInfluenceError, Interrupted
from attention_influence.progress import shown, stage
from attention_influence.storage.errors import in_words, is_storage_error
from attention_influence.storage.strict_json import strict_json
from attention_influence.streams import LogHandler, interrupts_noted, prepare_streams, write

_VERSIONS = ("attention-influence", "torch", "transformers", "tokenizers", "pyarrow", "numpy")


class _Command(NamedTuple):
    config: type[Any]
    function: str
    """`module:function`, imported when it is called: `--help` must not wait for torch."""


COMMANDS = {
    "detect": _Command(config.DetectConfig, "attention_influence.commands.detect:detect"),
    "stability": _Command(config.StabilityConfig, "attention_influence.commands.stability:stability"),
    "validate": _Command(config.ValidateConfig, "attention_influence.commands.validate:validate"),
    "lm-eval": _Command(config.LmEvalConfig, "attention_influence.commands.lm_eval:lm_eval"),
    "score": _Command(config.ScoreConfig, "attention_influence.commands.score:score"),
    "estimate": _Command(config.EstimateConfig, "attention_influence.commands.estimate:estimate"),
    "status": _Command(config.StatusConfig, "attention_influence.commands.status:status"),
    "select": _Command(config.SelectConfig, "attention_influence.commands.select:select_command"),
    "step-weights": _Command(
        config.StepWeightsConfig, "attention_influence.commands.step_weights:step_weights_command"
    ),
    "annotate": _Command(config.AnnotateConfig, "attention_influence.commands.annotate:annotate"),
    "distill": _Command(config.DistillConfig, "attention_influence.commands.distill:distill"),
    "compare": _Command(config.CompareConfig, "attention_influence.commands.compare:compare_command"),
    "explain": _Command(config.ExplainConfig, "attention_influence.commands.explain:explain_command"),
    "judge": _Command(config.JudgeConfig, "attention_influence.commands.judge:judge_command"),
    "experiment": _Command(config.ExperimentConfig, "attention_influence.commands.experiment:experiment_command"),
    "report": _Command(config.ReportConfig, "attention_influence.commands.report:report"),
    "demo": _Command(config.DemoConfig, "attention_influence.commands.demo:demo"),
}


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands and their options."""
    parser = argparse.ArgumentParser(
        prog="attention-influence", description="Pick pretraining data for language models by attention-head influence."
    )
    parser.add_argument("--version", action="version", version=version("attention-influence"))
    parser.add_argument("--print-completion", action=PrintCompletion, help="print a script that completes options")
    commands = parser.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        summary = command.config.__doc__ or ""
        options = commands.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=f"examples:\n{EXAMPLES[name]}",
            formatter_class=HelpFormatter,
            add_help=False,
        )
        add_options(options, command.config)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code: 0 done, 1 failed, 2 usage, 3 too many bad rows, 130 interrupted."""
    prepare_streams()
    if sys.platform == "win32":  # leases ask for processes, workers hold signals, files are locked as POSIX does
        write("attention-influence: error: Windows itself is not supported; run it in WSL\n", sys.stderr)
        return 2
    try:
        parsed = vars(make_parser().parse_args(arguments))
    finally:
        write("", sys.stdout)  # after --help, too
    _set_up_logging(parsed["verbose"])
    try:
        with interrupts_noted() as interrupts, nullcontext() if parsed["quiet"] else shown():
            command = COMMANDS[parsed["command"]]
            config = from_arguments(command.config, parsed)
            if parsed["print_config"]:
                write(to_yaml(config), sys.stdout)
                return 0
            with stage("starting"):
                function = _function(command.function)
            if arguments is None:  # the process is this command's own
                gc.freeze()
            if interrupts:  # imports of large libraries swallow some
                raise KeyboardInterrupt
            result = function(config)
        write((strict_json(result.data) if parsed["json"] else result.text) + "\n", sys.stdout)
        return int(result.exit_code)
    except AttentionInfluenceError as error:
        _say_where(parsed["verbose"])
        write(f"attention-influence: error: {error}\n", sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        write("attention-influence: interrupted\n", sys.stderr)
        return Interrupted.exit_code
    except Exception as error:
        if interrupts:
            write("attention-influence: interrupted\n", sys.stderr)
            return Interrupted.exit_code
        if not is_storage_error(error) or isinstance(error, BrokenPipeError):
            raise
        _say_where(parsed["verbose"])
        write(f"attention-influence: error: {in_words(error)}, and run the same command again\n", sys.stderr)
        return 1


def _function(name: str) -> Callable[[Any], Any]:
    """A command's function. Importing torch and transformers makes millions of objects and no garbage: looking for it
    takes a third of the time, now and, unless they are frozen, at the interpreter's end."""
    module, _, function = name.partition(":")
    gc.disable()
    try:
        imported = import_module(module)
    finally:
        gc.enable()
    return getattr(imported, function)  # type: ignore[no-any-return]


def _say_where(is_verbose: bool) -> None:
    """The traceback of the error that is handled."""
    if is_verbose:
        write(traceback.format_exc(), sys.stderr)


def _set_up_logging(is_verbose: bool) -> None:
    """Keeps standard error for what the user must know, or, if verbose, for what explains a run."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING, handlers=[LogHandler()])
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    warnings.filterwarnings("ignore", module=r"transformers\..*")
    log = logging.getLogger("attention_influence")
    log.setLevel(logging.INFO if is_verbose else logging.NOTSET)
    versions = " ".join(f"{name} {version(name)}" for name in _VERSIONS) if is_verbose else ""
    log.info("Python %s, %s", platform.python_version(), versions)


if __name__ == "__main__":
    sys.exit(main())
