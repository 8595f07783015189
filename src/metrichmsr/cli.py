"""The command ``metrichmsr``: finds the verb, imports what it needs, and turns errors into one line.

Exit status: 0 all done; 1 some inputs failed (or ``doctor`` found something broken); 2 the run could not start: bad
usage, a folder that cannot be written, a model that is missing; 130 interrupted.
"""

from __future__ import annotations

import difflib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from metrichmsr import own_process
from metrichmsr.errors import MetricHMSRError, UsageError

Args = TypeVar("Args")


@dataclass(frozen=True)
class DoctorArgs:
    """Tell what is installed, found and missing: versions, devices, body models, weights, optional parts."""

    body_model_dir: Path | None = None
    """Folder with your SMPL, SMPL-H or SMPL-X files, to be looked through as well."""
    json: bool = False
    """Print the findings as JSON."""


@dataclass(frozen=True)
class LicensesArgs:
    """List the licence of every part: the package, shipped weights, dependencies, and what you may add yourself."""

    json: bool = False
    """Print the list as JSON."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``metrichmsr`` with these arguments (the process's own by default); returns the exit status."""
    own_process.settle()
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        status = _dispatch(argv)
        sys.stdout.flush()
        return status
    except MetricHMSRError as error:
        if "--debug" in argv:
            traceback.print_exc()
        print(f"metrichmsr: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output has seen enough. Python would complain once more while closing stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def parse(kind: type[Args], argv: Sequence[str], verb: str, *, prefixes: bool = False) -> Args:
    """Fill a dataclass of options from the command line; prints help or the mistake, and exits, where that is due.

    ``prefixes`` names options of nested records after them (``--config.losses.pose``).
    """
    import tyro

    return tyro.cli(
        kind,
        prog=f"metrichmsr {verb}",
        args=argv,
        config=(
            *(() if prefixes else (tyro.conf.OmitArgPrefixes,)),
            tyro.conf.FlagCreatePairsOff,
            tyro.conf.DisallowNone,
        ),
    )


def _dispatch(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_help())
        return 0 if argv else 2
    if argv[0] in ("-V", "--version"):
        argv[0] = "version"
    if argv[0] not in _VERBS:
        near = difflib.get_close_matches(argv[0], _VERBS, n=1)
        if near:
            advice = f"did you mean {near[0]!r}?"
        elif Path(argv[0]).exists():
            advice = f"to recover people from it: metrichmsr recover {argv[0]}"
        else:
            advice = f"verbs are {', '.join(_VERBS)}"
        raise UsageError(f"unknown verb {argv[0]!r}: {advice}")
    return _VERBS[argv[0]].run(argv[1:])


def _recover(argv: list[str]) -> int:
    from metrichmsr.cli_recover import RecoverArgs, recover_inputs

    return recover_inputs(parse(RecoverArgs, argv, "recover"))


def _synth(argv: list[str]) -> int:
    from metrichmsr.cli_synth import SynthArgs, run_synth, with_default_folder

    return run_synth(parse(SynthArgs, with_default_folder(argv), "synth"))


def _evaluate(argv: list[str]) -> int:
    if not argv or argv[0] not in ("real", "synfocal", "depth"):
        raise UsageError(
            "evaluate what? There is synfocal (synthetic people), real (people in real pictures), and depth (the "
            "scene's), as in: metrichmsr evaluate real --data DIR --out DIR"
        )
    if argv[0] == "depth":
        from metrichmsr.evaluation.scene_depth_sets import EvaluateDepthOptions, main_evaluate_depth

        return main_evaluate_depth(parse(EvaluateDepthOptions, argv[1:], "evaluate depth"))
    if argv[0] == "synfocal":
        from metrichmsr.evaluation.synfocal import EvaluateSynfocalOptions, main_evaluate_synfocal

        return main_evaluate_synfocal(parse(EvaluateSynfocalOptions, argv[1:], "evaluate synfocal"))
    from metrichmsr.evaluation.real import EvaluateRealOptions, main_evaluate_real

    return main_evaluate_real(parse(EvaluateRealOptions, argv[1:], "evaluate real"))


def _train(argv: list[str]) -> int:
    verbs = (
        "samples",
        "hmr",
        "ablate",
        "average",
        "calibrate",
        "promote",
        "scenes",
        "depth",
        "refine",
        "promote-scene",
    )
    if not argv or argv[0] not in verbs:
        raise UsageError(
            "train what? There is samples (make training samples), hmr (train the network on them), ablate (train its "
            "variants at an equal budget), average (of runs), calibrate (its sigmas) and promote (ship it, where it "
            "wins); and of the scene's networks scenes (make samples), depth, refine and promote-scene (ship one, "
            "where it wins)"
        )
    if argv[0] in ("scenes", "depth", "refine"):
        from metrichmsr import cli_train_depth as scene

        if argv[0] == "scenes":
            return scene.make_scene_samples(parse(scene.SceneSampleArgs, argv[1:], "train scenes"))
        if argv[0] == "depth":
            return scene.train_depth(parse(scene.TrainDepthArgs, argv[1:], "train depth", prefixes=True))
        return scene.train_refine(parse(scene.TrainRefineArgs, argv[1:], "train refine", prefixes=True))
    if argv[0] == "promote-scene":
        from metrichmsr.cli_promote_scene import PromoteSceneArgs, promote_scene

        return promote_scene(parse(PromoteSceneArgs, argv[1:], "train promote-scene"))
    if argv[0] == "ablate":
        from metrichmsr.cli_ablate import AblateArgs, ablate

        return ablate(parse(AblateArgs, argv[1:], "train ablate", prefixes=True))
    if argv[0] in ("average", "calibrate", "promote"):
        from metrichmsr.cli_promote import AverageArgs, CalibrateArgs, PromoteArgs, average, calibrate, promote

        if argv[0] == "average":
            return average(parse(AverageArgs, argv[1:], "train average"))
        if argv[0] == "calibrate":
            return calibrate(parse(CalibrateArgs, argv[1:], "train calibrate"))
        return promote(parse(PromoteArgs, argv[1:], "train promote"))
    from metrichmsr.cli_train import SampleArgs, TrainHmrArgs, make_samples, train_hmr

    if argv[0] == "samples":
        return make_samples(parse(SampleArgs, argv[1:], "train samples"))
    return train_hmr(parse(TrainHmrArgs, argv[1:], "train hmr", prefixes=True))


def _measure(argv: list[str]) -> int:
    from metrichmsr.cli_measure import MeasureArgs, measure_inputs

    return measure_inputs(parse(MeasureArgs, argv, "measure"))


def _app(argv: list[str]) -> int:
    from metrichmsr.cli_app import AppArgs, run_app

    return run_app(parse(AppArgs, argv, "app"))


def _explain(argv: list[str]) -> int:
    from metrichmsr.cli_explain import ExplainArgs, explain_photo

    return explain_photo(parse(ExplainArgs, argv, "explain"))


def _report(argv: list[str]) -> int:
    from metrichmsr.cli_report import ReportArgs, report_results

    return report_results(parse(ReportArgs, argv, "report"))


def _view(argv: list[str]) -> int:
    from metrichmsr.cli_view import ViewArgs, view_results

    return view_results(parse(ViewArgs, argv, "view"))


def _export(argv: list[str]) -> int:
    if not argv or argv[0] != "onnx":
        raise UsageError(
            "export what? There is onnx, as in: metrichmsr export onnx --checkpoint FILE --out network.onnx"
        )
    from metrichmsr.cli_export import ExportOnnxArgs, export_checkpoint

    return export_checkpoint(parse(ExportOnnxArgs, argv[1:], "export onnx"))


def _convert(argv: list[str]) -> int:
    from metrichmsr.cli_convert import ConvertArgs, convert

    return convert(parse(ConvertArgs, argv, "convert"))


def _doctor(argv: list[str]) -> int:
    args = parse(DoctorArgs, argv, "doctor")
    from metrichmsr.doctor import as_json, as_text, examine, is_fit

    findings = examine(args.body_model_dir)
    print(as_json(findings) if args.json else as_text(findings))
    return 0 if is_fit(findings) else 1


def _licenses(argv: list[str]) -> int:
    args = parse(LicensesArgs, argv, "licenses")
    from metrichmsr.licenses import as_json, as_text, components

    print(as_json(components()) if args.json else as_text(components()))
    return 0


def _version(argv: list[str]) -> int:
    from metrichmsr import __version__

    if argv:
        raise UsageError(f"version takes no arguments, not {argv[0]!r}")
    print(f"metrichmsr {__version__}")
    return 0


@dataclass(frozen=True)
class _Verb:
    run: Callable[[list[str]], int]
    summary: str


_VERBS = {
    "recover": _Verb(_recover, "people of photos and videos as meshes, heights and positions in metres"),
    "measure": _Verb(_measure, "lengths and girths of recovered people in metres"),
    "view": _Verb(_view, "results in the browser, in metres, with a tape measure"),
    "report": _Verb(_report, "results on one page to read and to print"),
    "convert": _Verb(_convert, "other formats (obj, usd, bvh…) or another body model of a finished result"),
    "app": _Verb(_app, "a web page on this machine: drop a photo, see its people"),
    "explain": _Verb(_explain, "what the network saw in a photo, and which of its experts worked on what"),
    "export": _Verb(_export, "the network as an ONNX file for other runtimes"),
    "train": _Verb(_train, "the network: training samples from synthetic people, and training on them"),
    "synth": _Verb(_synth, "synthetic people with exact truth: training sets, the SynFocal benchmark"),
    "evaluate": _Verb(_evaluate, "measure the recovery on real photos with ground truth, or on SynFocal"),
    "doctor": _Verb(_doctor, "what is installed, found and missing"),
    "licenses": _Verb(_licenses, "the licence of every part"),
    "version": _Verb(_version, "the version of this package"),
}


def _help() -> str:
    verbs = "\n".join(f"  {name:<10} {verb.summary}" for name, verb in _VERBS.items())
    return f"""\
usage: metrichmsr VERB …

One photo in, metric people out.

verbs:
{verbs}

examples:
  metrichmsr recover photo.jpg                 results go to ./out/photo/
  metrichmsr recover photos/ --out results     a whole folder
  metrichmsr recover photo.jpg --height 1.82   with the person's known height in metres
  metrichmsr recover --help                    all options
  metrichmsr view out/photo                    the result in the browser
  metrichmsr app                               the same in a web page on this machine
  metrichmsr explain photo.jpg                 what each expert of the network worked on
  metrichmsr synth --preview people.png        a look at synthetic people"""
