"""Which images of the data are followed while a model trains, and what is known of them."""
