"""Arguments that the networks of several families take, and the ranges of their values.

image_size: height and width of the images, b * 2**n with 4 <= b <= 7.
channels: of the images, 1 or 3; a discriminator's are times ``packing``.
latent_dim: length of the noise vector.
num_classes: number of labels, 0 for an unconditional network.
minibatch_stddev: group size of ``MinibatchStddev``, which shows a discriminator how much a batch varies; 0 for none.

The upper ends of the ranges refuse what would not fit into memory.
"""

from typing import Annotated

from pydantic import Field

Width = Annotated[int, Field(ge=1, le=65536)]  # channels, units, or length of a vector
Classes = Annotated[int, Field(ge=0, le=65536)]
Group = Annotated[int, Field(ge=0, le=65536)]
Depth = Annotated[int, Field(ge=1, le=64)]  # layers
Blocks = Annotated[int, Field(ge=0, le=64)]
Frames = Annotated[int, Field(ge=1, le=10_000)]
Length = Annotated[int, Field(ge=1, le=10_000_000)]  # samples or units of an example
Dropout = Annotated[float, Field(ge=0, lt=1)]  # probability
