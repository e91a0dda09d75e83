"""What a lens, a loader or a sample declares about itself, and the tables that hold these declarations.

Every surface reads them: Python checks arguments against them, the command line derives options, the docs derive
tables, the tests derive conformance rows. They are therefore plain data, and this package imports nothing heavy.
"""

from convscope.spec.inputs import INPUT_KINDS, InputKind, inputs_with
from convscope.spec.lens_spec import FAMILIES, NEEDS, SMOOTH, SMOOTH_OF, Lenses, LensSpec, lens_from_json
from convscope.spec.parameters import Param, Parameter, read_parameters
from convscope.spec.tables import (
    FILE_FORMATS,
    HEAD_BYTES,
    INPUT_FORMATS,
    LENSES,
    LOADERS,
    SAMPLES,
    FileFormat,
    InputFormat,
    LoaderSpec,
    SampleSpec,
    Table,
    file_format,
    input_format,
    loader,
)

__all__ = [
    "FAMILIES",
    "FILE_FORMATS",
    "FileFormat",
    "HEAD_BYTES",
    "INPUT_FORMATS",
    "INPUT_KINDS",
    "InputFormat",
    "InputKind",
    "LENSES",
    "LOADERS",
    "LensSpec",
    "Lenses",
    "LoaderSpec",
    "NEEDS",
    "Param",
    "Parameter",
    "SAMPLES",
    "SMOOTH",
    "SMOOTH_OF",
    "SampleSpec",
    "Table",
    "file_format",
    "input_format",
    "inputs_with",
    "lens_from_json",
    "loader",
    "read_parameters",
]
