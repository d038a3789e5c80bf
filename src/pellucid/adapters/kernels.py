"""What the axes of a weight are: data about frameworks, by names of layers and shapes."""

from typing import NamedTuple


class KernelAxes(NamedTuple):
    """Which axes of a weight are outputs and inputs; the others, in order, are spatial.

    `role` is "filters" (of a convolution), "dense", "vector", or "other". A depthwise kernel has
    one filter for each of its inputs and no axis of inputs.
    """

    role: str
    output: int | None = None
    input: int | None = None
    depthwise: bool = False


def kernel_axes(name: str, kind: str, shape: tuple[int, ...], *, outputs_first: bool) -> KernelAxes:
    """The axes of the weight `name` of a layer of this `kind`.

    `outputs_first`: (out, in, *space), as in torch and Equinox; else (*space, in, out), as in
    TensorFlow, Keras, TensorLayer and Flax.
    """
    rank, words = len(shape), f"{name} {kind}".lower()
    if rank <= 1:
        return KernelAxes("vector")
    if rank == 2:
        # A table of words has its words first everywhere.
        first = outputs_first and "embed" not in words
        return KernelAxes("dense", 0, 1) if first else KernelAxes("dense", 1, 0)
    convolves = any(w in words for w in ("conv", "filter", "depthwise")) or rank in (4, 5)
    # Attention keeps heads on an axis of their own.
    if not convolves or any(w in words for w in ("einsum", "attention", "attn", "query", "value")):
        return KernelAxes("other")
    depthwise = "depthwise" in words or (outputs_first and shape[1] == 1 and shape[0] > 1)
    turned = "transpose" in words or "deconv" in words
    if outputs_first:
        output, incoming = (1, 0) if turned else (0, 1)
        return KernelAxes("filters", output, incoming, depthwise)
    output, incoming = (rank - 2, rank - 1) if turned else (rank - 1, rank - 2)
    if depthwise:
        output, incoming = rank - 2, rank - 1
    return KernelAxes("filters", output, incoming, depthwise)
