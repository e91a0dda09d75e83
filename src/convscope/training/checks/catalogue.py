"""All checks, in the order in which their findings are listed."""

from typing import Any

from convscope.training.checks.background_answers import background_answers
from convscope.training.checks.batch_noise import batch_noise
from convscope.training.checks.batch_norm_statistics import batch_norm_statistics
from convscope.training.checks.blank_map import blank_map
from convscope.training.checks.blurred_images import blurred_images
from convscope.training.checks.checkerboard import checkerboard
from convscope.training.checks.class_imbalance import class_imbalance
from convscope.training.checks.class_token_only import class_token_only
from convscope.training.checks.dead_units import dead_units
from convscope.training.checks.declaration import Check
from convscope.training.checks.divergence import divergence
from convscope.training.checks.duplicate_kernels import duplicate_kernels
from convscope.training.checks.dying_units import dying_units
from convscope.training.checks.exact_duplicates import exact_duplicates
from convscope.training.checks.feature_drift import feature_drift
from convscope.training.checks.flat_map import flat_map
from convscope.training.checks.gradient_by_depth import gradient_by_depth
from convscope.training.checks.gradient_depth import gradient_depth
from convscope.training.checks.high_frequency_kernels import high_frequency_kernels
from convscope.training.checks.high_learning_rate import high_learning_rate
from convscope.training.checks.idle_layer import idle_layer
from convscope.training.checks.input_independence import input_independence
from convscope.training.checks.inverted_map import inverted_map
from convscope.training.checks.leak_like_jump import leak_like_jump
from convscope.training.checks.low_learning_rate import low_learning_rate
from convscope.training.checks.miscalibration import miscalibration
from convscope.training.checks.near_duplicates import near_duplicates
from convscope.training.checks.noise_kernels import noise_kernels
from convscope.training.checks.nonfinite_map import nonfinite_map
from convscope.training.checks.nonfinite_values import nonfinite_values
from convscope.training.checks.overfitting import overfitting
from convscope.training.checks.part_drift import part_drift
from convscope.training.checks.plateau import plateau
from convscope.training.checks.removed_by_relu import removed_by_relu
from convscope.training.checks.same_for_classes import same_for_classes
from convscope.training.checks.saturated_score import saturated_score
from convscope.training.checks.saturated_units import saturated_units
from convscope.training.checks.shortcut import shortcut
from convscope.training.checks.similar_features import similar_features
from convscope.training.checks.split_leak import split_leak
from convscope.training.checks.stopped_gradient import stopped_gradient
from convscope.training.checks.telling_properties import telling_properties
from convscope.training.checks.texture_bias import texture_bias
from convscope.training.checks.underfitting import underfitting
from convscope.training.checks.unreadable_images import unreadable_images
from convscope.training.checks.unusual_images import unusual_images
from convscope.training.checks.unusual_sizes import unusual_sizes
from convscope.training.checks.weight_spectra import weight_spectra
from convscope.training.checks.worst_groups import worst_groups
from convscope.training.checks.wrong_labels import wrong_labels
from convscope.training.checks.wrong_preprocessing import wrong_preprocessing

CHECKS: tuple[Check[Any], ...] = (
    divergence, overfitting, underfitting, high_learning_rate, low_learning_rate, plateau, gradient_depth, idle_layer,
    dying_units, leak_like_jump, batch_noise,
    nonfinite_values, input_independence, wrong_preprocessing, batch_norm_statistics, dead_units,
    saturated_units, gradient_by_depth, duplicate_kernels, noise_kernels, weight_spectra,
    high_frequency_kernels, checkerboard, shortcut, background_answers, texture_bias, miscalibration, worst_groups,
    wrong_labels,
    removed_by_relu, stopped_gradient, class_token_only, saturated_score, blank_map, nonfinite_map, flat_map,
    inverted_map, same_for_classes,
    split_leak, exact_duplicates, unreadable_images, unusual_images, blurred_images, unusual_sizes,
    class_imbalance, near_duplicates, telling_properties, part_drift,
    similar_features, feature_drift,
)  # fmt: skip
