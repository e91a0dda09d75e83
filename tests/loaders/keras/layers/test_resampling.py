"""Resizing by every method of TensorFlow; Keras on torch has only some of them, and another cubic filter."""

import pytest
import torch

from convscope.loaders.keras.layers.resampling import METHODS, resampled
from convscope.loaders.keras.layers.resizing import cropped_to, padded_to

ROW = [0.0, 1, 5, 2, -3]
OF_TENSORFLOW = {
    # tf.image.resize of TensorFlow 2.21 on ROW: method, length of the result, antialias
    ("bicubic", 3, False): [0.13778, 5.0, -1.72575],
    ("bicubic", 8, False): [-0.07196, 0.1934, 1.18042, 4.16626, 4.64661, 2.25525, -1.17708, -3.35978],
    ("area", 3, False): [0.4, 3.6, -1.0],
    ("area", 8, False): [0.0, 0.4, 1.0, 4.2, 4.4, 2.0, -1.0, -3.0],
    ("lanczos3", 3, False): [-0.05457, 5.0, -1.9124],
    ("lanczos3", 8, False): [0.02266, -0.04108, 1.25861, 4.19504, 5.05937, 2.42213, -1.44869, -3.41721],
    ("lanczos5", 3, False): [-0.07743, 5.0, -2.0328],
    ("lanczos5", 8, False): [0.09353, -0.0526, 1.23818, 4.05078, 5.24414, 2.46671, -1.59932, -3.3464],
    ("gaussian", 3, False): [0.33924, 4.25445, -1.30378],
    ("gaussian", 8, False): [0.06009, 0.43782, 1.461, 3.67267, 3.9596, 1.99556, -0.81088, -2.69957],
    ("mitchellcubic", 3, False): [0.2251, 4.61111, -1.50199],
    ("mitchellcubic", 8, False): [-0.01407, 0.29678, 1.34085, 3.90622, 4.32214, 2.14102, -1.00368, -3.07033],
    ("bilinear", 3, True): [0.42857, 3.44444, -0.85714],
    ("bicubic", 3, True): [0.38462, 3.75814, -0.89231],
}


@pytest.mark.parametrize("case", OF_TENSORFLOW)
def test_an_image_is_resized_as_tensorflow_does(case):
    method, length, antialias = case
    row = torch.tensor(ROW)
    expected = torch.tensor(OF_TENSORFLOW[case])
    wide = resampled(row.view(1, 1, 1, -1), 1, length, method, antialias=antialias)
    tall = resampled(row.view(1, 1, -1, 1), length, 1, method, antialias=antialias)
    torch.testing.assert_close(wide.flatten(), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(tall.flatten(), expected, atol=1e-5, rtol=0)


def test_every_method_is_compared_here():
    assert {method for method, _, _ in OF_TENSORFLOW} == set(METHODS)


def test_another_shape_is_cropped_or_padded():
    x = torch.arange(12.0).view(1, 1, 2, 6)
    assert cropped_to(x, 5, 5).tolist() == [[[[2, 3], [8, 9]]]]
    assert padded_to(x, 4, 4, 7.0).shape == (1, 1, 6, 6)
    assert padded_to(x, 4, 4, 7.0)[0, 0, 1].tolist() == [7.0] * 6
