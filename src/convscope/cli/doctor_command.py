"""The command ``doctor``: what is installed; or what is wrong with a training, a network or a folder of images."""

from pathlib import Path
from typing import Annotated

import typer

from convscope.cli import options
from convscope.cli.completion import complete_model_addresses
from convscope.cli.console import print_json, print_result
from convscope.cli.listing_commands import report_installation
from convscope.cli.model_opening import OpeningValues, open_model, with_opening_options
from convscope.cli.result_paths import make_parent_folder, output_path
from convscope.errors import InputError


@with_opening_options
def doctor(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FOLDER]", help="the log of a training; with --model, images for it", show_default=False
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="the network to check", metavar="ADDRESS", autocompletion=complete_model_addresses
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="a folder of images to check", metavar="FOLDER", show_default=False)
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            "--against",
            help="the training images that the folder of --data is compared with",
            metavar="FOLDER",
            show_default=False,
        ),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(
            "--masks",
            help="pictures of the objects on the images, of the same names, black outside the object",
            metavar="FOLDER",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            help="write the findings with their pictures into this HTML file",
            metavar="PLACE",
            show_default=False,
        ),
    ] = None,
    trials: Annotated[
        bool, typer.Option("--try", help="try remedies on a copy of the network, which takes a few steps of training")
    ] = False,
    as_json: options.Json = False,
    debug: options.Debug = False,
    *,
    opening: OpeningValues,
) -> None:
    """Say what is wrong with a training, a network or a folder of images; without arguments, what is installed."""
    if folder is None and model is None and data is None and reference is None:
        report_installation()
        return
    if model is not None and folder is None and data is None:
        raise InputError("a network is checked on images: convscope doctor FOLDER --model ADDRESS")
    from convscope.reporting import place_for
    from convscope.training.diagnosis import diagnose
    from convscope.training.report import diagnosis_report

    path = None if out is None else output_path(out, "doctor.html", place_for, [])
    checked = (None, None) if model is None else (open_model(model, opening), folder and str(folder))
    log = folder if model is None else None
    diagnosis = diagnose(*checked, log=log, data=data, reference=reference, masks=masks, trials=trials)
    if path is not None:
        make_parent_folder(path)
        diagnosis_report(diagnosis, path, subject=str(model or folder or data or reference))
    if as_json:
        findings = [finding.as_json() for finding in diagnosis.findings]
        print_json({"findings": findings, "checked": list(diagnosis.checked), "skipped": diagnosis.skipped})
    else:
        print_result(str(diagnosis))
        if path is not None:
            print_result(f"written to {path}: open it in a browser, it needs no network")
