"""KerasHub's image classifiers, tiny and with random weights: exact, and on a grid, whatever they are made of."""

import keras
import numpy as np
import pytest

from keras_cam import explain

IMAGES = np.random.default_rng(0).uniform(0, 1, (2, 32, 32, 3)).astype("float32")
IMAGE = {"image_shape": (32, 32, 3)}
VIT = {"patch_size": (8, 8), "num_layers": 1, "num_heads": 2, "hidden_dim": 8, "mlp_dim": 8, **IMAGE}
DENSENET = {"stackwise_num_repeats": [1, 1, 1], "compression_ratio": 0.5, "growth_rate": 4, **IMAGE}
VGG = {"stackwise_num_repeats": [1, 1], "stackwise_num_filters": [4, 4], **IMAGE}
SWIN = {"patch_size": 2, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4, **IMAGE}
MIT = ([1, 1], 2, [1, 2], [2, 1], 0.1, [7, 3], [4, 2])
CLASSIFIERS = {  # family -> arguments of the backbone, of the classifier, method, grid
    "DenseNet": ((), DENSENET, {}, "cam", (2, 2)),
    "VGG": ((), VGG, {"pooling": "avg"}, "cam", (2, 2)),
    "SwinTransformer": ((), SWIN, {}, "cam", (8, 8)),
    "MiT": (MIT, {"hidden_dims": [8, 8], **IMAGE}, {}, "cam", (4, 4)),
    "ViT": ((), VIT, {"pooling": "gap"}, "cam", (4, 4)),  # 17 tokens: the first has no place
}


@pytest.fixture(scope="module")
def kerashub():
    """KerasHub, where it is installed and goes with this Keras."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("keras_hub", minversion="0.30")  # the first with Swin Transformers; needs Keras 3.15


@pytest.mark.filterwarnings("ignore:::keras_hub")
@pytest.mark.parametrize("family", CLASSIFIERS)
def test_classifier(family, kerashub):
    args, options, head, method, grid = CLASSIFIERS[family]
    backbone = getattr(kerashub.models, f"{family}Backbone")(*args, **options)
    classifier = getattr(kerashub.models, f"{family}ImageClassifier")
    model = classifier(backbone, num_classes=3, activation="softmax", preprocessor=None, **head)
    result = explain(model, IMAGES, classes="all")
    assert result.method == method and result.maps.shape == (2, 3, *grid)
    assert result.completeness.min() > 1 - 1e-5
    expected = keras.ops.convert_to_numpy(model(IMAGES, training=False))
    np.testing.assert_allclose(result.probabilities, expected, rtol=1e-4, atol=1e-6)
