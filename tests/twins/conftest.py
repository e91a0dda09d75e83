"""The subject of a twin is named in the test's parameters and built when first needed."""

import pytest

from tests.twins.subjects import Subject, subject_called


@pytest.fixture
def subject(request: pytest.FixtureRequest) -> Subject:
    """The subject whose name stands in the test's parameters."""
    return subject_called(request.param)
