"""Records of zip archives, read without believing the sizes that they state of themselves."""

import zipfile


def read_record(archive: zipfile.ZipFile, name: str) -> bytes:
    """The content of a record; no more is unpacked of it than the size that the archive states.

    ``archive.read`` unpacks all of it at once before it compares sizes.
    """
    information = archive.getinfo(name)
    with archive.open(information) as record:
        return record.read(information.file_size)
