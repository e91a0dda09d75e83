"""DICOM: one file, or a folder that holds the slices of one or several series."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from convscope.engine.inputs.raw_input import Numbers, RawInput, check_count
from convscope.errors import InputError, MissingExtra
from convscope.spec import input_format

_MAX_GAP = 1.5
"""A distance between neighboring slices that exceeds the usual one by this factor is a missing slice."""
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_SAME_PLACE = 0.01
"""Neighboring slices that are nearer than this share of the usual distance lie at the same position."""
_POSITION_TAGS = ("SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient", "SeriesDescription")


def _is_dicom(path: Path, head: bytes) -> bool:
    if path.is_dir():
        return any(_has_signature(file) for file in sorted(path.iterdir())[:50] if file.is_file())
    return head[128:132] == b"DICM"


def _has_signature(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


@input_format(
    name="dicom",
    title="a DICOM file or series",
    extensions=(".dcm",),
    recognizes=_is_dicom,
    options=("series",),
    folder_axes=3,
    extra="medical",
    kinds=("image", "volume"),
)
def read_dicom(path: Path, options: Mapping[str, str]) -> RawInput:
    """Read one picture, or the slices of a folder in the order of their positions, with rescaled values.

    A folder with several series needs ``series``: the number of one in the order of their identifiers, or the
    identifier itself.
    """
    try:
        import pydicom
    except ImportError as error:
        raise MissingExtra("pydicom", "medical") from error
    if path.is_dir():
        return _volume(_chosen_series(path, options.get("series"), pydicom), path, pydicom)
    if "series" in options:
        raise InputError(f"{path.name!r} is a single file: ?series= chooses within a folder")
    picture = pydicom.dcmread(path)
    sizes = ("NumberOfFrames", "SamplesPerPixel", "Rows", "Columns")
    check_count(tuple(int(getattr(picture, size, None) or 1) for size in sizes), repr(path.name))
    pixels = _pixels(picture)
    if pixels.ndim != 2:
        raise InputError(f"{path.name!r} holds pixels of shape {pixels.shape}: a picture has two axes, a series three")
    spacing = tuple(float(size) for size in getattr(picture, "PixelSpacing", ()))
    return RawInput(pixels[None], ("height", "width"), spacing, "mm" if spacing else "", title=repr(path.name))


def _chosen_series(folder: Path, chosen: str | None, pydicom: Any) -> list[tuple[Any, Path]]:
    """The headers and paths of the slices of one series."""
    series: dict[str, list[tuple[Any, Path]]] = defaultdict(list)
    for file in sorted(folder.iterdir()):
        if file.is_file() and _has_signature(file):
            header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(_POSITION_TAGS))
            series[str(getattr(header, "SeriesInstanceUID", ""))].append((header, file))
    identifiers = sorted(series)
    if chosen is None and len(identifiers) == 1:
        return series[identifiers[0]]
    if chosen is not None and chosen in series:
        return series[chosen]
    if chosen is not None and chosen.isdecimal() and int(chosen) < len(identifiers):
        return series[identifiers[int(chosen)]]
    listed = "; ".join(
        f"{number}: {len(series[name])} slices {getattr(series[name][0][0], 'SeriesDescription', '')}".rstrip()
        for number, name in enumerate(identifiers)
    )
    problem = "" if chosen is None else f" and none {chosen!r}"
    raise InputError(f"{folder.name!r} holds {len(identifiers)} series{problem}: say which with ?series=… ({listed})")


def _volume(slices: Sequence[tuple[Any, Path]], folder: Path, pydicom: Any) -> RawInput:
    """The slices (1, slices, rows, columns) in the order of their positions."""
    try:
        orientation = np.asarray(slices[0][0].ImageOrientationPatient, np.float64)
        positions = np.asarray([header.ImagePositionPatient for header, _ in slices], np.float64)
    except AttributeError as error:
        raise InputError(f"the slices of {folder.name!r} have no position in space: pass them as a tensor") from error
    normal = np.cross(orientation[:3], orientation[3:])
    distances = positions @ normal
    order = np.argsort(distances)
    first = pydicom.dcmread(slices[order[0]][1])
    thickness = _thickness(distances[order], folder) or float(getattr(first, "SliceThickness", 1) or 1)
    check_count((len(order), first.Rows, first.Columns), repr(folder.name))
    pictures = [_pixels(pydicom.dcmread(slices[index][1])) for index in order]
    shapes = {picture.shape for picture in pictures}
    if len(shapes) > 1:
        raise InputError(f"the slices of {folder.name!r} have several sizes: {', '.join(map(str, sorted(shapes)))}")
    rows, columns = (float(size) for size in first.PixelSpacing)
    affine = np.eye(4)
    # A row index moves along the direction of a column of pixels, whose cosines come second.
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = normal * thickness, orientation[3:] * rows, orientation[:3] * columns
    affine[:3, 3] = positions[order[0]]
    return RawInput(
        np.stack(pictures)[None],
        ("slice", "row", "column"),
        (thickness, rows, columns),
        "mm",
        _LPS_TO_RAS @ affine,
        title=repr(folder.name),
    )


def _thickness(distances: np.ndarray[Any, np.dtype[np.float64]], folder: Path) -> float:
    """The distance between neighboring slices, which must be the same everywhere; 0 for a single slice."""
    gaps = np.diff(distances)
    if not len(gaps):
        return 0.0
    usual = float(np.sort(gaps)[(len(gaps) - 1) // 2])
    if float(gaps.min()) <= _SAME_PLACE * usual:
        place = int(gaps.argmin())
        raise InputError(
            f"several slices of {folder.name!r} lie at the same position (slices {place} and {place + 1}): they "
            "are more than one volume, or a file is there twice; leave each position one file"
        )
    if float(gaps.max()) > _MAX_GAP * usual:
        place = int(gaps.argmax())
        raise InputError(
            f"a slice is missing in {folder.name!r}: {gaps[place]:g} mm lie between slices {place} and {place + 1}, "
            f"and {usual:g} mm between the others; copy all slices of the series into the folder"
        )
    return usual


def _pixels(picture: Any) -> Numbers:
    """The pixels in the unit of the modality, such as Hounsfield units."""
    pixels: Numbers = picture.pixel_array.astype(np.float32)
    return pixels * float(getattr(picture, "RescaleSlope", 1)) + float(getattr(picture, "RescaleIntercept", 0))
