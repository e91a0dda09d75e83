"""The command ``training``: the log of a training as a page and as a table."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.cli import options
from convscope.cli.console import print_json, print_message, print_result
from convscope.cli.result_paths import make_parent_folder, output_path

if TYPE_CHECKING:
    from convscope.training.run import TrainingLog


def training(
    logdir: Annotated[
        Path, typer.Argument(metavar="LOGDIR", help="a log directory of TensorBoard, whichever program wrote it")
    ],
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", help="the HTML file to write, or a folder for it", metavar="PLACE"),
    ] = None,
    film: Annotated[
        str | None,
        typer.Option(
            "--film",
            help="write an animated GIF of kernels, feature maps and Grad-CAM over the steps, in place of the page",
            metavar="FILE",
        ),
    ] = None,
    landscape: Annotated[
        str | None,
        typer.Option(
            "--landscape",
            help="measure the loss around the trained weights on these images, as they are named for train; runs the "
            "network.py in LOGDIR",
            metavar="DATA",
        ),
    ] = None,
    data_folder: Annotated[
        Path | None, typer.Option("--data", help="where the files of the images of --landscape lie", metavar="FOLDER")
    ] = None,
    points: Annotated[
        int, typer.Option("--points", help="points of --landscape along either direction, odd", metavar="N")
    ] = 21,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Draw the log of a training: curves, gradients, distributions, pictures over time, and what is wrong."""
    from convscope.reporting import place_for
    from convscope.training.diagnosis import diagnose
    from convscope.training.film import training_film
    from convscope.training.landscape import landscape_of_run
    from convscope.training.report import training_report
    from convscope.training.run import open_log

    path = None if out is None and (as_json or film) else output_path(out, "training.html", place_for, [])
    if landscape is not None:
        landscape_of_run(logdir, landscape, data_folder, points=points)
    log = open_log(logdir)
    if film is not None:
        film_path = Path(film).expanduser()
        make_parent_folder(film_path)
        training_film(log, film_path)
        print_message(f"film written to {film_path}")
    if path is not None:
        make_parent_folder(path)
        training_report(log, path, findings=diagnose(log=log).findings)
    if as_json:
        print_json({"runs": summary(log), "problems": [str(problem) for problem in log.problems()]})
        return
    print_result("\n".join(_lines(log)))
    for problem in log.problems():
        print_message(f"convscope: {problem}")
    if path is not None:
        print_result(f"written to {path}: open it in a browser, it needs no network")


def summary(log: "TrainingLog") -> dict[str, dict[str, Any]]:
    """For each run and scalar: how many numbers, the last step, the last number, the smallest and the largest."""
    return {run.name: {tag: _summary_of(run.series(tag)) for tag in run.tags} for run in log}


def _summary_of(series: Any) -> dict[str, Any]:
    from convscope.values.base import to_plain_data

    values = series.values
    finite = values[abs(values) < float("inf")]
    numbers = {"last": float(values[-1])}
    if len(finite):
        numbers |= {"smallest": float(finite.min()), "largest": float(finite.max())}
    plain: dict[str, Any] = to_plain_data({"count": series.count, "step": int(series.steps[-1]), **numbers})
    return plain


def _lines(log: "TrainingLog") -> list[str]:
    """One line per metric and run; measurements of layers are on the page."""
    from convscope.training.roles import curves

    rows = [("metric", "run", "steps", "last", "smallest", "largest")]
    for metric, of_metric in curves(log).items():
        for curve in of_metric:
            numbers = _summary_of(curve.series)
            cells = (
                f"{numbers[key]:.4g}" if isinstance(numbers.get(key), float) else str(numbers.get(key, "–"))
                for key in ("last", "smallest", "largest")
            )
            rows.append((metric, curve.name, f"{numbers['count']:,}", *cells))  # type: ignore[arg-type]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(w) if n < 2 else cell.rjust(w) for n, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
