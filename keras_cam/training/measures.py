"""The numbers that say where a network looks: what each is called, and what it says."""

from __future__ import annotations

ABOUT = {
    "probability_of_true_class": "Mean over the probes of the probability that the model gives to the true class.",
    "concentration": "How small the area is that holds half of the heat: 0 spread evenly, near 1 all in one spot.",
    "share_in_border": "Share of the heat within a tenth of the picture's sides: 0.36 if spread evenly. "
    "High: the model may be looking at a mark or a frame.",
    "share_in_corners": "Share of the heat in the four corners, each a quarter of the sides long: 0.25 if spread "
    "evenly.",
    "moved_since_last": "Share of the heat that lies elsewhere than the last time: 0 nothing moved, 1 everything.",
    "agreement": "How far the maps of one class lie in the same place whatever the picture: 1 all alike.",
    "energy_inside": "Share of the heat on the object.",
    "pointing": "How often the hottest pixel lies on the object.",
    "iou": "Overlap of the box round what is hot with the true box.",
}
INSIDE = ("energy_inside", "pointing", "iou")
