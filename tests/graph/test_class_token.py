"""Class tokens: what they take from each patch, block by block, is the map."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from support.zoo_parts import PrefixToken

from keras_cam import CAMWarning, explain

SIDE, PATCH, WIDTH, HEADS = 4, 8, 6, 2
IMAGES = np.random.default_rng(0).uniform(0, 1, (2, SIDE * PATCH, SIDE * PATCH, 3)).astype("float32")


class Tokens(layers.Layer):
    """Several tokens before the patches, and a position for each of all."""

    def __init__(self, count):
        super().__init__()
        self.count = count

    def build(self, shape):
        self.tokens = self.add_weight(shape=(1, self.count, shape[-1]), initializer="normal")
        self.positions = self.add_weight(shape=(1, self.count + shape[1], shape[-1]), initializer="normal")

    def call(self, x):
        tokens = ops.broadcast_to(self.tokens, (ops.shape(x)[0], self.count, WIDTH))
        return ops.concatenate([tokens, x], axis=1) + self.positions


class Attention(layers.Layer):
    """Attention written by hand: `fused` has one projection for queries, keys and values."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.projections = [layers.Dense(3 * WIDTH)] if how == "fused" else [layers.Dense(WIDTH) for _ in range(3)]
        self.last = layers.Dense(WIDTH)

    def build(self, shape):
        for layer in (*self.projections, self.last):
            layer.build(shape)

    def heads(self, x):
        return ops.reshape(x, (-1, x.shape[1], HEADS, WIDTH // HEADS))

    def call(self, x):
        if self.how == "fused":
            rows = ops.reshape(self.projections[0](x), (-1, x.shape[1], 3, HEADS, WIDTH // HEADS))
            query, key, value = ops.unstack(ops.transpose(rows, (2, 0, 3, 1, 4)), 3)
            mixed = ops.matmul(ops.softmax(ops.matmul(query, ops.transpose(key, (0, 1, 3, 2)))), value)
            mixed = ops.transpose(mixed, (0, 2, 1, 3))
        else:
            query, key, value = (self.heads(layer(x)) for layer in self.projections)
            if self.how == "rotated":  # patches alone, as rotary positions are
                query, key = (ops.concatenate([each[:, :1], 2 * each[:, 1:]], axis=1) for each in (query, key))
                mixed = ops.dot_product_attention(query, key, value)
            else:
                weights = ops.softmax(ops.einsum("nqhc,nkhc->nhqk", query, key))
                mixed = ops.einsum("nhqk,nkhc->nqhc", weights, value)
        return self.last(ops.reshape(mixed, (-1, x.shape[1], WIDTH)))


def keras_attention(x):
    return layers.MultiHeadAttention(HEADS, WIDTH // HEADS)(x, x)


def vit(attention=keras_attention, read=lambda x: x[:, 0], tokens=lambda: Tokens(1), blocks=2, norms=True):
    norm = layers.LayerNormalization if norms else layers.Identity
    inputs = keras.Input(IMAGES.shape[1:])
    x = layers.Reshape((SIDE * SIDE, WIDTH))(layers.Conv2D(WIDTH, PATCH, PATCH)(inputs))
    x = tokens()(x)
    for _ in range(blocks):
        x = x + attention(norm()(x))
        x = x + layers.Dense(WIDTH)(layers.Dense(8, activation="gelu")(norm()(x)))
    return keras.Model(inputs, layers.Dense(3)(read(norm()(x))))


def test_one_block_by_hand():
    """Of every patch: its weight of attention, times its values, through the last two layers."""
    inputs = keras.Input(IMAGES.shape[1:])
    patches = layers.Reshape((SIDE * SIDE, WIDTH), name="patches")(layers.Conv2D(WIDTH, PATCH, PATCH)(inputs))
    tokens, attention, head = Tokens(1), layers.MultiHeadAttention(1, 5, name="attention"), layers.Dense(3)
    x = tokens(patches)
    model = keras.Model(inputs, head((x + attention(x, x))[:, 0]))
    result = explain(model, IMAGES, classes="all")

    rows = keras.Model(inputs, x).predict(IMAGES, verbose=0).astype("float64")
    query, query_bias, key, key_bias, value, _, last, _ = attention.get_weights()
    kernel, _ = head.get_weights()
    expected = np.zeros((2, 3, SIDE, SIDE))
    for image in range(2):
        asked = rows[image, 0] @ query[:, 0] + query_bias[0]
        logits = np.array([asked @ (row @ key[:, 0] + key_bias[0]) for row in rows[image]]) / np.sqrt(5)
        weights = np.exp(logits) / np.exp(logits).sum()
        for patch in range(SIDE * SIDE):
            taken = weights[1 + patch] * (rows[image, 1 + patch] @ value[:, 0]) @ last[0]
            expected[image, :, patch // SIDE, patch % SIDE] = SIDE * SIDE * taken @ kernel
    np.testing.assert_allclose(result.maps, expected, rtol=1e-4, atol=1e-5)
    assert result.method == "frozen" and result.completeness.min() > 1 - 1e-5


@pytest.mark.parametrize("how", ["fused", "separate", "rotated"])
def test_attention_written_by_hand(how):
    result = explain(vit(lambda x: Attention(how)(x)), IMAGES, classes="all")
    assert result.completeness.min() > 1 - 1e-5 and result.maps.shape == (2, 3, SIDE, SIDE)
    assert np.ptp(result.maps, axis=(2, 3)).min() > 0


@pytest.mark.parametrize(
    ("count", "read"),
    [
        (4, lambda x: x[:, 0]),
        (2, lambda x: layers.Average()([layers.Dense(4)(x[:, 0]), layers.Dense(4)(x[:, 1])])),
        (1, lambda x: ops.take(x, 0, axis=1)),
        (1, lambda x: ops.concatenate([x[:, 0], ops.mean(x[:, 1:], axis=1)], axis=-1)),
    ],
    ids=["registers", "two heads", "take", "beside the mean of the patches"],
)
def test_what_is_read(count, read):
    result = explain(vit(tokens=lambda: Tokens(count), read=read), IMAGES, classes="all")
    assert result.completeness.min() > 1 - 1e-5 and np.ptp(result.maps, axis=(2, 3)).min() > 0
    assert [(axis.offset, axis.stride) for axis in result.grid.axes] == [(3.5, 8.0)] * 2


def test_patches_that_change_places_change_them_in_the_map():
    """Without positions, a network does not know where a patch is; the map does."""
    token = PrefixToken()
    model = vit(tokens=lambda: token)
    token.place.assign(ops.zeros_like(token.place))
    swapped = IMAGES.copy()
    swapped[:, :PATCH, :PATCH], swapped[:, -PATCH:, :PATCH] = IMAGES[:, -PATCH:, :PATCH], IMAGES[:, :PATCH, :PATCH]
    maps, others = (explain(model, images, classes="all").maps for images in (IMAGES, swapped))
    expected = maps.copy()
    expected[..., 0, 0], expected[..., -1, 0] = maps[..., -1, 0], maps[..., 0, 0]
    np.testing.assert_allclose(others, expected, rtol=1e-3, atol=1e-4 * np.abs(maps).max())
    assert np.abs(maps - others).max() > 1e-2 * np.abs(maps).max()


def test_it_follows_training():
    model = vit()
    before = explain(model, IMAGES, classes=[1])
    model.layers[-1].kernel.assign(2 * model.layers[-1].kernel)
    np.testing.assert_allclose(explain(model, IMAGES, classes=[1]).maps, 2 * before.maps, rtol=1e-4, atol=1e-6)


def test_a_way_that_cannot_be_followed_is_no_map_and_says_so():
    """A mask may keep any token from any other."""
    mask = np.ones((1, SIDE * SIDE + 1, SIDE * SIDE + 1), bool)
    masked = vit(
        lambda x: layers.MultiHeadAttention(HEADS, 3, use_bias=False)(x, x, attention_mask=ops.convert_to_tensor(mask))
    )
    with pytest.warns(CAMWarning, match="zero everywhere"):
        explain(masked, IMAGES)


def test_sums_over_patches_that_are_made_before_are_not_followed():
    """Linear attention: what queries meet holds all patches at once."""

    def linear(x):
        query, key, value = (layers.Dense(WIDTH)(x) for _ in range(3))
        return ops.matmul(query, ops.matmul(ops.transpose(key, (0, 2, 1)), value))

    with pytest.warns(CAMWarning, match="zero everywhere"):
        explain(vit(linear), IMAGES)
