"""Every kind of layer in a small network, against Keras itself."""

import numpy as np
import pytest
import torch

from convscope.loaders.keras import network  # noqa: F401 - declares the translators
from convscope.loaders.keras.config import Layer
from convscope.loaders.keras.layers.padding import pad_same
from convscope.loaders.keras.layers.pooling import SameAveragePool
from convscope.loaders.keras.layers.untranslated import REASONS
from convscope.loaders.keras.layout import Layout
from convscope.loaders.keras.translation import Conversion, LayerContext, translate_layer, translated_kinds
from convscope.loaders.keras.weights import LayerWeights
from tests.loaders.keras.twins import assert_equal_to_keras, with_own_weights

IMAGE, SIGNAL, VOLUME, VECTOR = (9, 8, 6), (13, 6), (6, 5, 7, 4), (10,)


def case(kind, shape, **settings):
    """One layer of a kind on an input of a shape."""
    return pytest.param(
        kind, shape, settings, id="-".join([kind, *(f"{k}={v}" for k, v in settings.items())]).replace(" ", "")
    )


CASES = [
    case("Conv2D", IMAGE, filters=5, kernel_size=3),
    case("Conv2D", IMAGE, filters=5, kernel_size=(3, 2), padding="same", strides=2, activation="relu"),
    case("Conv2D", IMAGE, filters=5, kernel_size=4, padding="same", strides=(1, 3), use_bias=False),
    case("Conv2D", IMAGE, filters=6, kernel_size=3, padding="same", dilation_rate=2, groups=2, activation="tanh"),
    case("Conv1D", SIGNAL, filters=5, kernel_size=4, padding="same", strides=3),
    case("Conv1D", SIGNAL, filters=5, kernel_size=3, padding="causal", dilation_rate=2),
    case("Conv3D", VOLUME, filters=5, kernel_size=(2, 3, 3), padding="same", strides=2),
    case("DepthwiseConv2D", IMAGE, kernel_size=3, depth_multiplier=2, padding="same", strides=2),
    case("DepthwiseConv1D", SIGNAL, kernel_size=4, depth_multiplier=3),
    case("SeparableConv2D", IMAGE, filters=5, kernel_size=3, depth_multiplier=2, padding="same", activation="swish"),
    case("SeparableConv1D", SIGNAL, filters=5, kernel_size=4, strides=2),
    case("Conv2DTranspose", IMAGE, filters=5, kernel_size=4, strides=2, padding="same"),
    case("Conv2DTranspose", IMAGE, filters=5, kernel_size=3, strides=2, padding="valid"),
    case("Conv2DTranspose", IMAGE, filters=5, kernel_size=2, strides=3, padding="valid"),
    case("Conv1DTranspose", SIGNAL, filters=5, kernel_size=5, strides=1, padding="same", activation="relu"),
    case("Conv3DTranspose", VOLUME, filters=3, kernel_size=2, strides=2),
    case("Dense", VECTOR, units=7, activation="softmax"),
    case("Dense", IMAGE, units=7, activation="softmax"),
    case("EinsumDense", SIGNAL, equation="abc,cd->abd", output_shape=(None, 5), bias_axes="d"),
    case("BatchNormalization", IMAGE),
    case("BatchNormalization", VECTOR, scale=False),
    case("BatchNormalization", VOLUME, center=False, epsilon=0.1),
    case("BatchNormalization", IMAGE, axis=1),
    case("LayerNormalization", IMAGE),
    case("LayerNormalization", IMAGE, axis=[2, 3]),
    case("LayerNormalization", SIGNAL, scale=False),
    case("GroupNormalization", IMAGE, groups=3),
    case("GroupNormalization", IMAGE, groups=-1),
    case("RMSNormalization", SIGNAL),
    case("UnitNormalization", IMAGE),
    case("MaxPooling2D", IMAGE, pool_size=3, strides=2, padding="same"),
    case("MaxPooling2D", IMAGE, pool_size=2, strides=1, padding="same"),
    case("MaxPooling2D", IMAGE, pool_size=(2, 3)),
    case("MaxPooling1D", SIGNAL, pool_size=4, strides=3, padding="same"),
    case("MaxPooling3D", VOLUME, pool_size=2),
    case("AveragePooling2D", (9, 9, 4), pool_size=3, strides=2, padding="same"),
    case("AveragePooling2D", IMAGE, pool_size=2, strides=1, padding="same"),
    case("AveragePooling1D", SIGNAL, pool_size=3),
    case("AveragePooling3D", VOLUME, pool_size=2),
    case("GlobalMaxPooling2D", IMAGE, keepdims=True),
    case("GlobalMaxPooling1D", SIGNAL),
    case("GlobalMaxPooling3D", VOLUME),
    case("GlobalAveragePooling1D", SIGNAL, keepdims=True),
    case("GlobalAveragePooling2D", IMAGE),
    case("GlobalAveragePooling3D", VOLUME),
    case("AdaptiveAveragePooling2D", IMAGE, output_size=(3, 4)),
    case("AdaptiveMaxPooling1D", SIGNAL, output_size=4),
    *(
        case("Activation", SIGNAL, activation=name)
        for name in (
            "relu", "relu6", "sigmoid", "tanh", "gelu", "elu", "selu", "celu", "softplus", "softsign", "swish", "mish",
            "exponential", "squareplus", "hard_silu", "hard_sigmoid", "hard_tanh", "hard_shrink", "soft_shrink",
            "tanh_shrink", "log_sigmoid", "softmax", "log_softmax", "leaky_relu", "linear",
        )
    ),
    case("ReLU", IMAGE),
    case("ReLU", IMAGE, max_value=6),
    case("ReLU", IMAGE, max_value=1.5, negative_slope=0.1, threshold=0.3),
    case("LeakyReLU", IMAGE, negative_slope=0.2),
    case("ELU", IMAGE, alpha=0.5),
    case("PReLU", IMAGE),
    case("PReLU", IMAGE, shared_axes=[1, 2]),
    case("Softmax", IMAGE),
    case("Softmax", IMAGE, axis=1),
    case("Flatten", IMAGE),
    case("Flatten", VECTOR),
    case("Reshape", IMAGE, target_shape=(12, -1)),
    case("Reshape", VECTOR, target_shape=(1, 1, 10)),
    case("Permute", IMAGE, dims=(3, 1, 2)),
    case("RepeatVector", VECTOR, n=4),
    case("ZeroPadding1D", SIGNAL, padding=(1, 2)),
    case("ZeroPadding2D", IMAGE, padding=((1, 2), (0, 3))),
    case("ZeroPadding2D", IMAGE, padding=2),
    case("ZeroPadding3D", VOLUME, padding=(1, 0, 2)),
    case("Cropping1D", SIGNAL, cropping=(1, 2)),
    case("Cropping2D", IMAGE, cropping=((1, 2), (0, 3))),
    case("Cropping3D", VOLUME, cropping=1),
    case("UpSampling1D", SIGNAL, size=3),
    case("UpSampling2D", IMAGE, size=(2, 3)),
    case("UpSampling2D", IMAGE, size=2, interpolation="bilinear"),
    case("UpSampling3D", VOLUME, size=2),
    case("Rescaling", IMAGE, scale=0.5, offset=-1),
    case("Rescaling", (9, 8, 3), scale=[0.5, 1, 2], offset=[0, 1, 2]),
    case("Normalization", (9, 8, 3), mean=[1, 2, 3], variance=[1, 4, 9]),
    case("Normalization", (9, 8, 3), mean=1.5, variance=4.0, invert=True),
    case("CenterCrop", IMAGE, height=4, width=5),
    case("Resizing", IMAGE, height=5, width=11),
    case("Resizing", IMAGE, height=12, width=4, interpolation="nearest"),
    case("Resizing", IMAGE, height=5, width=5, crop_to_aspect_ratio=True),
    case("Dropout", IMAGE, rate=0.5),
    case("SpatialDropout2D", IMAGE, rate=0.5),
    case("GaussianNoise", IMAGE, stddev=1.0),
    case("RandomFlip", IMAGE),
    case("RandomRotation", IMAGE, factor=0.1),
    case("RandomContrast", (9, 8, 3), factor=0.1),
    case("LSTM", SIGNAL, units=5),
    case("LSTM", SIGNAL, units=5, return_sequences=True, go_backwards=True, use_bias=False),
    case("LSTM", SIGNAL, units=5, recurrent_activation="hard_sigmoid", activation="relu"),
    case("GRU", SIGNAL, units=5, return_sequences=True),
    case("GRU", SIGNAL, units=5, reset_after=False),
    case("GRU", SIGNAL, units=5, activation="relu"),
    case("SimpleRNN", SIGNAL, units=5),
    case("SimpleRNN", SIGNAL, units=5, activation="sigmoid", return_sequences=True),
    case("Attention", SIGNAL, use_scale=True),
    case("Attention", SIGNAL, score_mode="concat"),
    case("AdditiveAttention", SIGNAL),
    case("MultiHeadAttention", SIGNAL, num_heads=2, key_dim=3),
    case("MultiHeadAttention", IMAGE, num_heads=2, key_dim=3, value_dim=4, output_shape=5, use_bias=False),
    case("Masking", SIGNAL, mask_value=0.0),
    case("GroupQueryAttention", SIGNAL, head_dim=3, num_query_heads=4, num_key_value_heads=2),
    case("ConvLSTM1D", (4, 9, 3), filters=4, kernel_size=3, go_backwards=True, activation="relu", use_bias=False),
    case("ConvLSTM2D", (4, 6, 5, 3), filters=4, kernel_size=3, padding="same", return_sequences=True),
    case("ConvLSTM2D", (4, 6, 5, 3), filters=4, kernel_size=2, strides=2),
    case("ConvLSTM3D", (3, 6, 5, 4, 2), filters=2, kernel_size=2, dilation_rate=2),
    case("AutoContrast", (9, 8, 3), value_range=(0, 1)),
    case("Solarization", (9, 8, 3)),
    case("Discretization", VECTOR, bin_boundaries=[-1.0, 0.0, 0.5]),
    case("Discretization", VECTOR, bin_boundaries=[-1.0, 0.0, 0.5], output_mode="one_hot"),
    case("Resizing", IMAGE, height=4, width=5, antialias=True),
    case("Resizing", (19, 18, 3), height=4, width=5, interpolation="bicubic", antialias=True),
    case("Resizing", (9, 5, 3), height=6, width=6, pad_to_aspect_ratio=True, fill_value=0.3),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "shape", "settings"), CASES)
def test_a_layer_gives_what_keras_gives(keras, kind, shape, settings):
    given = keras.Input(shape)
    layer = getattr(keras.layers, kind)(name="layer", **settings)
    if kind in ("MultiHeadAttention", "GroupQueryAttention"):
        output = layer(given, given)
    else:
        output = layer([given, given]) if "Attention" in kind else layer(given)
    assert_equal_to_keras(with_own_weights(keras.Model(given, output)))


def test_an_average_leaves_padding_out_as_tensorflow_does():
    """Keras on torch repeats the border instead, so that it is no reference for a border on one side only."""
    x = torch.randn(1, 2, 8, 7)
    pooled = SameAveragePool((3, 2), (2, 2))(x)
    windows = [
        [x[0, :, 2 * row : 2 * row + 3, 2 * column : 2 * column + 2].mean((1, 2)) for column in range(4)]
        for row in range(4)
    ]
    torch.testing.assert_close(pooled[0], torch.stack([torch.stack(row, 1) for row in windows], 1))


@pytest.mark.parametrize(("size", "stride"), [(3, 2), (2, 3), (5, 2), (4, 1), (3, 1)])
def test_a_transposed_convolution_is_the_gradient_of_the_convolution(size, stride):
    """TensorFlow defines it so, also where its padding is one-sided; Keras on torch differs there."""
    kernel = np.random.default_rng(0).normal(size=(size, 3, 2)).astype(np.float32)
    settings = {"strides": [stride], "padding": "same", "use_bias": False, "activation": "linear"}
    layer = Layer("layer", "Conv1DTranspose", settings)
    conversion = Conversion(Layout(), 3, [], translate_layer)
    module = translate_layer(LayerContext(layer, LayerWeights((kernel,)), conversion))
    y = torch.randn(1, 2, 7)
    x = torch.zeros(1, 3, 7 * stride, requires_grad=True)
    weight = torch.from_numpy(kernel).permute(2, 1, 0)
    padded = pad_same(x, (size,), (stride,), (1,))
    (torch.nn.functional.conv1d(padded, weight, stride=stride) * y).sum().backward()
    torch.testing.assert_close(module(y), x.grad)


@pytest.mark.parametrize("kind", ["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"])
def test_a_merge_gives_what_keras_gives(keras, kind):
    given = keras.Input(IMAGE)
    layers = keras.layers
    other = layers.Conv2D(6, 1)(given)
    vector = layers.GlobalAveragePooling2D()(given)
    merged = getattr(layers, kind)()([given, other])
    assert_equal_to_keras(with_own_weights(keras.Model(given, getattr(layers, kind)()([merged, vector]))))


@pytest.mark.parametrize("axis", [-1, 1, 2, 3])
def test_a_concatenation_gives_what_keras_gives(keras, axis):
    given = keras.Input(IMAGE)
    output = keras.layers.Concatenate(axis=axis)([given, keras.layers.Activation("tanh")(given)])
    assert_equal_to_keras(keras.Model(given, output))


@pytest.mark.parametrize(("axes", "normalize"), [(-1, False), ((1, 1), True)])
def test_a_dot_product_gives_what_keras_gives(keras, axes, normalize):
    given = keras.Input(SIGNAL)
    output = keras.layers.Dot(axes=axes, normalize=normalize)([given, keras.layers.Activation("tanh")(given)])
    assert_equal_to_keras(keras.Model(given, output))


@pytest.mark.parametrize("mode", ["concat", "sum", "mul", "ave"])
@pytest.mark.parametrize("sequences", [True, False])
def test_both_directions_give_what_keras_gives(keras, mode, sequences):
    layers = keras.layers
    inner = layers.GRU(4, return_sequences=sequences)
    model = keras.Sequential([keras.Input(SIGNAL), layers.Bidirectional(inner, merge_mode=mode)])
    assert_equal_to_keras(with_own_weights(model))


def test_a_layer_per_step_gives_what_keras_gives(keras):
    layers = keras.layers
    inner = keras.Sequential([keras.Input((6, 5, 3)), layers.Conv2D(4, 3, activation="relu"), layers.Flatten()])
    model = keras.Sequential([keras.Input((4, 6, 5, 3)), layers.TimeDistributed(inner), layers.LSTM(3)])
    assert_equal_to_keras(with_own_weights(model))


def test_a_spectrally_normalized_layer_gives_what_keras_gives(keras):
    layers = keras.layers
    model = keras.Sequential([keras.Input(IMAGE), layers.SpectralNormalization(layers.Conv2D(4, 3))])
    assert_equal_to_keras(model)


def test_a_cell_in_a_recurrent_layer_gives_what_keras_gives(keras):
    layers = keras.layers
    model = keras.Sequential([keras.Input(SIGNAL), layers.RNN(layers.LSTMCell(4), return_sequences=True)])
    assert_equal_to_keras(with_own_weights(model))


def test_an_embedding_gives_what_keras_gives(keras):
    layers = keras.layers
    model = keras.Sequential([keras.Input((7,)), layers.Embedding(20, 5), layers.Conv1D(4, 3)])
    indices = np.random.default_rng(0).integers(0, 20, (3, 7)).astype(np.float32)
    assert_equal_to_keras(with_own_weights(model), arrays=indices)


@pytest.mark.parametrize("mode", ["one_hot", "multi_hot", "count"])
def test_an_encoding_of_categories_gives_what_keras_gives(keras, mode):
    model = keras.Sequential([keras.Input((7,)), keras.layers.CategoryEncoding(20, output_mode=mode)])
    assert_equal_to_keras(model, arrays=np.random.default_rng(0).integers(0, 20, (3, 7)).astype(np.float32))


@pytest.mark.parametrize("settings", [{}, {"tie_weights": False, "logit_soft_cap": 2.0}])
def test_an_embedding_that_is_used_both_ways_gives_what_keras_gives(keras, settings):
    given, layer = keras.Input((7,)), keras.layers.ReversibleEmbedding(20, 5, **settings)
    model = with_own_weights(keras.Model(given, layer(keras.layers.Dense(5)(layer(given)), reverse=True)))
    assert_equal_to_keras(model, arrays=np.random.default_rng(0).integers(0, 20, (3, 7)).astype(np.float32))


def test_a_pipeline_gives_what_keras_gives(keras):
    layers = keras.layers
    assert_equal_to_keras(
        keras.Sequential([keras.Input(IMAGE), layers.Pipeline([layers.RandomFlip(), layers.Resizing(4, 5)])])
    )


def test_a_random_crop_becomes_the_window_in_the_middle():
    """As Keras documents it, and did until it left images as they are after training."""
    layer = Layer("crop", "RandomCrop", {"height": 2, "width": 2})
    module = translate_layer(LayerContext(layer, LayerWeights(), Conversion(Layout(), 3, [], translate_layer)))
    x = torch.arange(12.0).view(1, 1, 2, 6)
    assert module(x).tolist() == [[[[2, 3], [8, 9]]]]


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_weights_in_the_order_of_cudnn_are_those_of_the_plain_layer(kind):
    """CuDNN keeps each gate's kernel transposed in memory, and two biases."""
    generator, gates = np.random.default_rng(0), {"LSTM": 4, "GRU": 3}[kind]
    kernel = generator.normal(size=(6, gates * 5)).astype(np.float32)
    recurrent = generator.normal(size=(5, gates * 5)).astype(np.float32)
    biases = generator.normal(size=(2, gates * 5)).astype(np.float32)
    stored = (
        np.hstack([block.ravel(order="F").reshape(block.shape) for block in np.hsplit(kernel, gates)]),
        np.hstack([block.T for block in np.hsplit(recurrent, gates)]),
        biases.ravel(),
    )
    conversion = Conversion(Layout(), 2, [], translate_layer)
    plain = (kernel, recurrent, biases if kind == "GRU" else biases.sum(0))
    usual = {"recurrent_activation": "sigmoid", "reset_after": True}
    modules = [
        translate_layer(LayerContext(Layer("layer", name, settings), LayerWeights(arrays), conversion))
        for name, settings, arrays in ((kind, usual, plain), (f"CuDNN{kind}", {}, stored))
    ]
    x = torch.randn(2, 6, 9)
    with torch.no_grad():
        torch.testing.assert_close(modules[1](x), modules[0](x))


def test_an_adapted_normalization_keeps_its_statistics(keras):
    layer = keras.layers.Normalization()
    layer.adapt(np.random.default_rng(0).normal(3, 2, (50, 4, 5, 3)).astype(np.float32))
    assert_equal_to_keras(keras.Sequential([keras.Input((4, 5, 3)), layer]))


def test_operations_of_the_graph_give_what_keras_gives(keras):
    given = keras.Input(IMAGE)
    ops = keras.ops
    scaled = ops.relu(given * 0.5 + 1) / 3 - given
    row = 2 - ops.mean(scaled, axis=1)
    joined = ops.concatenate([ops.transpose(row, (0, 2, 1)), ops.max(scaled, axis=[1])[:, :6]], axis=-1)
    output = (
        ops.maximum(ops.reshape(joined, (-1, 16 * 3)), -0.1) if joined.shape[-1] == 8 else ops.maximum(joined, -0.1)
    )
    assert_equal_to_keras(keras.Model(given, ops.softmax(output)))


def test_every_translated_kind_of_keras_is_compared_here(keras):
    """A new translator needs a case; old names, wrappers and random layers have none of their own."""
    tested = {case.values[0] for case in CASES}
    current = {kind for kind in translated_kinds() if hasattr(keras.layers, kind)} - set(REASONS)
    untested = {
        kind
        for kind in current - tested
        if not kind.startswith(
            ("Random", "Spatial", "Global", "Adaptive", "MaxPool", "AvgPool", "Convolution", "SeparableConvolution")
        )
    }
    assert untested == {
        "Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot", "Bidirectional",
        "TimeDistributed", "SpectralNormalization", "RNN", "Embedding", "AlphaDropout", "GaussianDropout",
        "ActivityRegularization", "Identity", "InputLayer", "AugMix", "CutMix", "MixUp", "RandAugment",
        "CategoryEncoding", "ReversibleEmbedding", "Pipeline", "Lambda", "Equalization",
    }  # fmt: skip
