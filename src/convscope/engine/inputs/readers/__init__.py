"""Readers of input files, one kind of file each. Importing this package declares them.

The order matters where several recognize a file: pictures come last, since Pillow opens many kinds of files.
"""

from convscope.engine.inputs.readers import arrays, audio, dicom, nifti, nrrd, tables, tiff, video  # noqa: F401

from convscope.engine.inputs.readers import pictures  # noqa: F401  isort: skip
