"""The packages of the extra ``training``, imported where they are needed first."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from convscope.errors import MissingExtra


class Messages(NamedTuple):
    """What event files are made of: the message types of TensorBoard, and the checksum of their records."""

    Event: Any
    Summary: Any
    GraphDef: Any
    checksum: Callable[[bytes], int]


@cache
def messages() -> Messages:
    """The message types that tensorboardX publishes.

    Raises:
        MissingExtra: tensorboardX or google-crc32c is not installed.
    """
    try:
        import google_crc32c
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.graph_pb2 import GraphDef
        from tensorboardX.proto.summary_pb2 import Summary
    except ModuleNotFoundError as error:
        raise MissingExtra((error.name or "tensorboardX").replace("_", "-"), "training") from error
    return Messages(Event, Summary, GraphDef, google_crc32c.value)
