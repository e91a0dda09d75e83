"""Pictures of a run have titles in words, in both languages; the pictures of other programs keep their tags."""

import pytest

from convscope.training.picture_titles import picture_title
from convscope.web.i18n import translate


@pytest.mark.parametrize(
    ("tag", "title", "chinese"),
    [
        ("probes/tensor[1]/grad_cam", "Grad-CAM of probe image 2", "探针图像 2 的 Grad-CAM"),
        ("probes/a/b.png/feature_maps/conv", "feature maps of conv for a/b.png", "a/b.png 在 conv 的特征图"),
        ("kernels/features.0", "kernels of features.0", "features.0 的卷积核"),
        ("Bilder/größe/0", "Bilder/größe/0", "Bilder/größe/0"),
        ("probes/predictions", "probes/predictions", "probes/predictions"),
    ],
)  # fmt: skip
def test_tags_become_titles(tag: str, title: str, chinese: str) -> None:
    assert picture_title(tag) == title
    assert translate(picture_title(tag), "zh") == chinese
