"""The maths: from features and a head to maps, on tensors."""
