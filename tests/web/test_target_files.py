"""Targets that name a file of the server are refused before anything is read."""

import pytest

from convscope.errors import ParameterError
from convscope.web.requests.models_and_images import Library
from convscope.web.requests.services import Services
from convscope.web.requests.url_state import View

pytest.importorskip("nicegui")


@pytest.mark.parametrize("target", ["like:/etc/passwd", "star in /etc/passwd", "everywhere - star in mask.png"])
def test_a_target_reads_no_file_of_the_server(target: str) -> None:
    services = Services(Library(["bundled:shapes"], [], ["sample:shapes/7"]))
    view = View(lens="saliency", image="sample:shapes/7", target=target)
    try:
        with pytest.raises(ParameterError, match="the server reads none of its files"):
            services.submit(view)
        assert services.submit(view.replace(target="star")).id
    finally:
        services.jobs.close()
