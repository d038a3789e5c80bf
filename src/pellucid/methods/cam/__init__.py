"""Class activation maps: what a convolutional layer found, weighted by what the class needs."""
