"""Which method stands for which kind, by what a method asks of the model: the first of each runs over every model."""

METHOD_KINDS = {
    "the score taken apart": ("cam",),
    "features alone": ("eigen_cam", "random_cam"),
    "gradients at the cells": (
        "grad_cam",
        "grad_cam_plus_plus",
        "hires_cam",
        "layer_cam",
        "xgrad_cam",
        "finer_cam",
        "eigen_grad_cam",
    ),
    "second derivatives": ("shapley_cam",),
    "scores of changed features": ("ablation_cam",),
    "scores of changed images": ("score_cam", "ss_cam", "is_cam"),
    "gradients of changed images": ("smooth_grad_cam_plus_plus",),
    "gradients at the pixels": ("saliency", "smooth_grad", "integrated_gradients"),
    "all biases": ("full_grad",),
    "guided": ("guided_backprop", "guided_grad_cam"),
}
METHOD_REPRESENTATIVES = {methods[0] for methods in METHOD_KINDS.values()}
