"""What every page and the API work with: the library, and the jobs."""

from dataclasses import dataclass, field

from convscope.catalogue import find
from convscope.web.assets import Library
from convscope.web.jobs.job import Job
from convscope.web.jobs.workers import Jobs
from convscope.web.run_request import key_of, look, refuse_wrong_values, takes_long, together
from convscope.web.url_state import View


@dataclass
class Bench:
    """What every page and the API work with."""

    library: Library
    jobs: Jobs = field(default_factory=Jobs)

    def look(self, view: View) -> Job:
        """The job that finds what a view asks for, or one that found or finds the same.

        Raises:
            ConvScopeError: it names what is not there, or a parameter has a value that its lens refuses.
        """
        refuse_wrong_values(view)
        if view.images and "images" in find(view.lens).inputs:
            self.library.collection(view.images)  # which says so where there is none, or too much of it
        key = key_of(self.library, view)
        alike = together(self.library, view)
        owner = view.model or self.library.addresses[0]
        return self.jobs.submit(key, lambda: look(self.library, view), alike, long=takes_long(view), owner=owner)
