"""Train a small network on CIFAR-10, watch it in TensorBoard, and end with a sheet of test pictures and their maps.

Downloads CIFAR-10 with keras.datasets, or takes --data DIR with pictures in DIR/train/<class> and DIR/test/<class>.
While it trains: tensorboard --logdir cifar10-run/logs --samples_per_plugin images=1000
"""

import argparse
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import keras_cam
from keras_cam.drawing.encode import save_png
from keras_cam.drawing.layout import beside, caption, contact_sheet
from keras_cam.drawing.overlay import overlay
from keras_cam.imaging.load import resize

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIZE = (32, 32)


def load_folders(folder: Path) -> tuple[tf.data.Dataset, tf.data.Dataset, list[str]]:
    """Read <folder>/train/<class> and <folder>/test/<class>."""
    train, test = (
        keras.utils.image_dataset_from_directory(folder / part, image_size=SIZE, batch_size=None, shuffle=False)
        for part in ("train", "test")
    )
    return train.cache(), test.cache(), train.class_names


def load_cifar10() -> tuple[tf.data.Dataset, tf.data.Dataset, list[str]]:
    """Download CIFAR-10, or take it from Keras' cache."""
    train, test = (tf.data.Dataset.from_tensor_slices((x, y[:, 0])) for x, y in keras.datasets.cifar10.load_data())
    return train, test, list(CIFAR10)


def augmented(train: tf.data.Dataset) -> tf.data.Dataset:
    """Mirror and shift the training pictures, anew in every epoch."""
    shift = keras.Sequential([layers.RandomFlip("horizontal"), layers.RandomTranslation(0.12, 0.12)])
    return train.map(lambda x, y: (shift(x, training=True), y), tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def convolution(x: keras.KerasTensor, filters: int) -> keras.KerasTensor:
    """Convolve, normalise, rectify."""
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))


def build_network(num_classes: int, steps_per_epoch: int, epochs: int) -> keras.Model:
    """Build a network whose last feature maps have 8 x 8 cells, pooled over the picture, and one Dense layer."""
    inputs = keras.Input((*SIZE, 3))
    x = convolution(layers.Rescaling(1 / 127.5, offset=-1)(inputs), 32)
    for filters in (64, 128):
        x = convolution(layers.MaxPooling2D()(x), filters)
        x = layers.Add()([x, convolution(x, filters)])
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    network = keras.Model(inputs, layers.Dense(num_classes, activation="softmax")(x), name="cifar10")
    steps = steps_per_epoch * epochs
    rate = keras.optimizers.schedules.CosineDecay(1e-4, steps - steps // 8, warmup_target=3e-3, warmup_steps=steps // 8)
    network.compile(
        keras.optimizers.AdamW(rate, weight_decay=1e-2),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,
    )
    return network


def draw_sheet(network: keras.Model, test: tf.data.Dataset, class_names: list[str], per_class: int = 3) -> np.ndarray:
    """Draw test pictures of every class beside the map of what the network takes them for."""
    batches = [(x.numpy(), y.numpy()) for x, y in test]
    images, labels = (np.concatenate(part) for part in zip(*batches, strict=True))
    chosen = np.concatenate([np.flatnonzero(labels == label)[:per_class] for label in range(len(class_names))])
    result = keras_cam.explain(network, images[chosen], class_names=class_names, value_range=(0, 255))
    cards = []
    for index, heatmaps in enumerate(result.heatmaps()):
        picture = resize(result.images[index], (128, 128))
        truth = labels[chosen[index]]
        right = result.class_indices[index, 0] == truth
        text = f"✓ {result.title(index)}" if right else f"✗ {result.title(index)} (is {class_names[truth]})"
        cards.append(caption(beside([picture, overlay(picture, heatmaps[0])], gap=2), [text]))
    return contact_sheet(cards, columns=2 * per_class, gap=10)


def main() -> None:
    """Train, test, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="DIR", help="class folders train/<class> and test/<class>")
    parser.add_argument("--out", type=Path, default=Path("cifar10-run"), metavar="DIR")
    parser.add_argument("--epochs", type=int, default=18)
    parser.add_argument("--batch-size", type=int, default=64)
    options = parser.parse_args()

    start = time.monotonic()
    keras.utils.set_random_seed(0)
    train, test, class_names = load_folders(options.data) if options.data else load_cifar10()
    train = train.shuffle(len(train), seed=0).batch(options.batch_size)
    test = test.shuffle(len(test), seed=0, reshuffle_each_iteration=False).batch(options.batch_size)
    network = build_network(len(class_names), len(train), options.epochs)
    logs = options.out / "logs"
    network.fit(
        augmented(train),
        validation_data=test,
        epochs=options.epochs,
        callbacks=[
            keras.callbacks.TensorBoard(str(logs)),
            keras_cam.CAMCallback(test, logs, num_probes=10, class_names=class_names, value_range=(0, 255)),
        ],
    )
    _, accuracy = network.evaluate(test, verbose=0)
    network.save(options.out / "network.keras")
    sheet = save_png(options.out / "sheet.png", draw_sheet(network, test, class_names))
    print(f"Test accuracy {accuracy:.1%} after {time.monotonic() - start:.0f} s.")
    print(f"Maps of test pictures: {sheet}. The network: {options.out / 'network.keras'}.")
    print(f"Epoch by epoch: tensorboard --logdir {logs} --samples_per_plugin images=1000")


if __name__ == "__main__":
    main()
