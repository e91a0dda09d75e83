"""The services behind every page and the API: the library of models and images, and the job manager."""

from dataclasses import dataclass, field
from pathlib import Path

from convscope.catalogue import find
from convscope.web.jobs.job import Job
from convscope.web.jobs.workers import JobManager
from convscope.web.requests.models_and_images import Library
from convscope.web.requests.run_request import batch_spec, cache_key, check_parameter_values, is_long_running, run_lens
from convscope.web.requests.url_state import View


@dataclass
class Services:
    """The services behind every page and the API.

    Attributes:
        logs: the log directories of trainings that the page Training follows.
    """

    library: Library
    jobs: JobManager = field(default_factory=JobManager)
    logs: tuple[Path, ...] = ()

    def submit(self, view: View) -> Job:
        """The job that computes the value of a view; an equal one that runs or has run is shared.

        Raises:
            ConvScopeError: the view names something unknown, or its lens refuses a parameter.
        """
        check_parameter_values(view)
        for kind in find(view.lens).input_kinds:
            if kind.content == "data set" and (collection := view.input(kind.name)):
                self.library.collection(collection)  # raises if it is unknown or too large
        key = cache_key(self.library, view)
        batch = batch_spec(self.library, view)
        owner = view.model or self.library.addresses[0]
        return self.jobs.submit(
            key, lambda: run_lens(self.library, view), batch, long=is_long_running(view), owner=owner
        )
