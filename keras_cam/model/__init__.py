"""What a CAM needs of a model: where it is cut, its feature maps, what its head is, and where the cells lie."""
