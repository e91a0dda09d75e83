"""Masks of steps: made by Masking and Embedding, passed on, and read by recurrent, attention and pooling layers."""

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.engine.network.scores_only import ScoresOnly
from convscope.loaders.keras.live import as_module
from tests.loaders.keras.twins import TOLERANCE, assert_equal_to_keras, with_own_weights

pytestmark = pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask")


def indices():
    """Sequences of words; 0 stands for none, at the end and in the middle."""
    words = np.random.default_rng(0).integers(1, 20, (3, 7)).astype(np.float32)
    words[0, 3:], words[1, 0], words[2, 4] = 0, 0, 0
    return words


def sequences():
    """Sequences of vectors; zeros stand for none."""
    steps = np.random.default_rng(0).normal(size=(3, 7, 4)).astype(np.float32)
    steps[0, 3:], steps[1, 0], steps[2, 4] = 0, 0, 0
    return steps


def pooled(layers, x):
    return layers.GlobalAveragePooling1D()(x)


GRAPHS = {
    "lstm": lambda L, x: L.LSTM(4)(x),
    "lstm-steps": lambda L, x: L.LSTM(4, return_sequences=True)(x),
    "zero-output": lambda L, x: L.LSTM(4, return_sequences=True, zero_output_for_mask=True)(x),
    "gru-backwards": lambda L, x: L.GRU(4, return_sequences=True, go_backwards=True)(x),
    "two-layers": lambda L, x: L.GRU(3)(L.SimpleRNN(4, return_sequences=True)(x)),
    "both-directions": lambda L, x: L.Bidirectional(L.GRU(3))(L.Bidirectional(L.LSTM(3, return_sequences=True))(x)),
    "cells": lambda L, x: L.RNN([L.LSTMCell(4), L.GRUCell(3)])(x),
    "mean": lambda L, x: pooled(L, L.Dropout(0.2)(L.Dense(5, activation="tanh")(x))),
    "a-convolution-ends-it": lambda L, x: L.LSTM(3)(L.Conv1D(5, 3)(x)),
    "per-step": lambda L, x: L.LSTM(3)(L.TimeDistributed(L.Dense(3))(x)),
    "heads": lambda L, x: L.LSTM(3)(L.Add()([L.MultiHeadAttention(2, 3)(x, x), x])),
    "heads-scores": lambda L, x: L.MultiHeadAttention(2, 3)(x, x, return_attention_scores=True)[1],
    "heads-dropout": lambda L, x: pooled(L, L.MultiHeadAttention(2, 3, dropout=0.1)(x, x)),
    "grouped-heads": lambda L, x: L.Dense(2)(L.GroupQueryAttention(3, 4, 2)(x, x)),
    "attention": lambda L, x: L.LSTM(3)(L.Attention()([x, x])),
    "additive": lambda L, x: L.LSTM(3)(L.AdditiveAttention()([x, x])),
    "causal": lambda L, x: L.Attention()([x, x], use_causal_mask=True),
    "joined-features": lambda L, x: L.LSTM(3)(L.Concatenate()([x, L.Dense(2)(x)])),
    "joined-steps": lambda L, x: L.LSTM(3)(L.Concatenate(axis=1)([x, x])),
    "given-states": lambda L, x: L.LSTM(4)(x, initial_state=L.LSTM(4, return_state=True)(x)[1:]),
}


OF_VECTORS = ["lstm-steps", "mean", "heads-scores", "joined-steps"]
"""Compared behind Masking too; the others behind an embedding alone."""


@pytest.mark.parametrize(
    ("graph", "source"), [*((graph, "embedding") for graph in GRAPHS), *((graph, "masking") for graph in OF_VECTORS)]
)
def test_a_mask_reaches_the_layers_that_read_it(keras, graph, source):
    layers = keras.layers
    if source == "embedding":
        given, arrays = keras.Input((7,)), indices()
        x = layers.Embedding(20, 5, mask_zero=True)(given)
    else:
        given, arrays = keras.Input((7, 4)), sequences()
        x = layers.Masking()(given)
    model = with_own_weights(keras.Model(given, GRAPHS[graph](layers, x)))
    module = as_module(model)
    assert not isinstance(module, ScoresOnly)
    assert_equal_to_keras(model, module, arrays)


def test_a_mask_passes_through_a_sequential_and_a_nested_network(keras):
    layers = keras.layers
    inner = keras.Sequential([keras.Input((7, 5)), layers.Dense(4), layers.Activation("relu")])
    stack = [layers.Embedding(20, 5, mask_zero=True), inner, layers.LSTM(3)]
    model = with_own_weights(keras.Sequential([keras.Input((7,)), *stack]))
    assert_equal_to_keras(model, arrays=indices())


def test_a_mask_changes_the_result(keras):
    """Otherwise the comparisons above would compare nothing."""
    layers = keras.layers
    stack = [layers.Embedding(20, 5, mask_zero=True), layers.LSTM(3)]
    module = as_module(with_own_weights(keras.Sequential([keras.Input((7,)), *stack])))
    words = torch.from_numpy(indices())
    with torch.no_grad():
        whole, cut = module(words)[0], module(words[:1, :3])[0]
    torch.testing.assert_close(whole, cut)


def test_a_saved_network_with_masks_opens_and_is_checked(keras, tmp_path):
    layers = keras.layers
    stack = [layers.Masking(), layers.RNN([layers.LSTMCell(4), layers.LSTMCell(3)]), layers.Dense(2)]
    with_own_weights(keras.Sequential([keras.Input((7, 4)), *stack])).save(tmp_path / "net.keras")
    model = cs.load(tmp_path / "net.keras")
    assert model.conversion.difference < TOLERANCE


def test_a_mask_that_would_select_features_leaves_the_scores(keras):
    layers = keras.layers
    given = keras.Input((7, 4))
    module = as_module(keras.Model(given, layers.Softmax(axis=1)(layers.Masking()(given))))
    assert isinstance(module, ScoresOnly)
    assert "a mask of steps reaches it" in module.reason


@pytest.mark.parametrize(("kind", "is_random"), [("Dropout", True), ("Dense", False)])
def test_a_layer_that_is_always_random_is_said(keras, kind, is_random):
    given = keras.Input((6,))
    settings = {"rate": 0.5} if is_random else {"units": 3}
    layer = getattr(keras.layers, kind)(name="layer", **settings)
    model = cs.Model(
        keras.Model(given, keras.layers.Dense(2)(layer(given, training=True) if is_random else layer(given)))
    )
    assert any("layer layer is random at each call" in caveat for caveat in model.caveats) == is_random


def test_statistics_of_each_batch_are_refused(keras):
    given = keras.Input((6,))
    module = as_module(keras.Model(given, keras.layers.BatchNormalization()(given, training=True)))
    assert isinstance(module, ScoresOnly)
    assert "training=True" in module.reason
