"""The laws of an adapter that can be run and differentiated, each tried on one case."""

import numpy as np

from pellucid.adapters.protocol import InputSpec, Tier
from pellucid.errors import CapabilityError
from pellucid.testing.adapter_case import AdapterCase
from pellucid.testing.laws import Broken, Skipped, require, require_close

XP = ("astype", "concat", "expand_dims", "ones_like", "reshape", "sum", "take", "zeros_like")
"""What methods ask of `xp` everywhere."""


def facts_are_stated(case: AdapterCase) -> None:
    """The facts are of the types that the protocol states."""
    a = case.adapter
    require(isinstance(a.framework, str) and a.framework, "`framework` is not a name.")
    require(isinstance(a.supports, Tier), "`supports` is not a Tier.")
    require(a.channel_axis in (1, -1), f"`channel_axis` is {a.channel_axis}, not 1 or -1.")
    require(isinstance(a.device, str), "`device` is not a string.")
    notes = a.notes
    require(
        isinstance(notes, tuple) and all(isinstance(n, str) for n in notes),
        "`notes` is not a tuple of strings.",
    )
    missing = [name for name in XP if not hasattr(a.xp, name)]
    require(not missing, f"`xp` lacks {', '.join(missing)}.")
    specs = a.inputs
    if specs is not None:
        require(all(isinstance(s, InputSpec) for s in specs), "`inputs` are not InputSpecs.")
        if all(s.certain for s in specs):
            given = len(case.leaves)
            require(len(specs) == given, f"`inputs` names {len(specs)} inputs, x has {given}.")


def arrays_go_and_come_back(case: AdapterCase) -> None:
    """`to_numpy(asarray(a))` is `a`."""
    a = case.adapter
    for dtype in ("float32", "int32", "bool"):
        given = np.arange(6).reshape(2, 3).astype(dtype)
        back = np.asarray(a.to_numpy(a.asarray(given)))
        require(back.dtype == dtype, f"asarray made {back.dtype} of {dtype}.")
        require(np.array_equal(back, given), f"{dtype} values changed on the way and back.")
    for dtype in ("float64", "int64"):  # some frameworks have 32 bits only
        given = np.arange(6).reshape(2, 3).astype(dtype)
        back = np.asarray(a.to_numpy(a.asarray(given)))
        require(np.array_equal(back, given), f"{dtype} values changed on the way and back.")
    turned = np.arange(6, dtype=np.float32).reshape(2, 3).T
    require(
        np.array_equal(a.to_numpy(a.asarray(turned)), turned),
        "an array that is not contiguous came back in another order.",
    )


def accept_and_restore_are_a_round_trip(case: AdapterCase) -> None:
    """`restore` puts leaves into the structure that `accept` was given."""
    a, leaves = case.adapter, case.leaves
    require(isinstance(leaves, tuple) and leaves, "`accept` did not return a tuple of arrays.")
    numbered = a.restore(list(range(len(leaves))))
    if isinstance(case.x, dict):
        require(
            isinstance(numbered, dict) and set(numbered) == set(case.x),
            "`restore` did not give back the keys of the dict that was accepted.",
        )
        pairs = [(case.x[key], number) for key, number in numbered.items()]
    elif isinstance(case.x, tuple):
        require(
            isinstance(numbered, tuple | list) and len(numbered) == len(case.x),
            "`restore` did not give back a tuple as long as the one that was accepted.",
        )
        pairs = list(zip(case.x, numbered, strict=True))
    else:
        require(numbered == 0, "`restore` of one leaf is not that leaf, as one array was accepted.")
        pairs = [(case.x, numbered)]
    for given, number in pairs:
        wanted = np.asarray(a.to_numpy(given) if not hasattr(given, "__array__") else given)
        require_close(case.arrays[number], wanted, "`accept` changed the values", 1e-6)


def a_run_is_the_model(case: AdapterCase) -> None:
    """`run(x, peel=False)` is what the model itself returns."""
    if case.call is None:
        raise Skipped("no `call` was given to compare with")
    from pellucid.testing.adapter_case import arrays_in

    wanted = [np.asarray(case.adapter.to_numpy(a)) for a in arrays_in(case.call(case.x))]
    found = case.run(peel=False)
    require(len(found) == len(wanted), f"`run` gave {len(found)} arrays, the model {len(wanted)}.")
    for a, b in zip(found, wanted, strict=True):
        require_close(a, b, "`run(x, peel=False)` is not what the model returns", 1e-5)


def a_run_can_be_repeated(case: AdapterCase) -> None:
    """A second run is the first; inputs are not written to."""
    for a, b in zip(case.run(), case.run(), strict=True):
        # Not bit by bit: memory that is aligned otherwise is added up in another order.
        require_close(a, b, "two runs on the same inputs differ: is the model in training?", 3e-6)
    given = case.native(case.arrays)
    case.run(given)
    for leaf, array in zip(given, case.arrays, strict=True):
        require(
            np.array_equal(case.adapter.to_numpy(leaf), array), "`run` wrote to its own inputs."
        )


def a_sample_does_not_know_its_batch(case: AdapterCase) -> None:
    """A row alone gives what it gives in the batch."""
    if case.rows < 2:
        raise Skipped("x has one sample")
    whole = case.run()
    for row in (0, case.rows - 1):
        alone = case.run(case.native([a[row : row + 1] for a in case.arrays]))
        for a, b in zip(alone, whole, strict=True):
            require(len(b) == case.rows, "an output has not one row a sample.")
            require_close(a, b[row : row + 1], f"row {row} alone is not row {row} of the batch")


def a_peeled_end_can_be_put_back(case: AdapterCase) -> None:
    """The final activation of the peeled output is the whole output."""
    finals = case.adapter.final_activation(case.leaves)
    raw, whole = case.run(), case.run(peel=False)
    require(len(finals) == len(raw), f"{len(finals)} final activations for {len(raw)} outputs.")
    for name, a, b in zip(finals, raw, whole, strict=True):
        z = a.astype(np.float64)
        shifted = np.exp(z - z.max(axis=-1, keepdims=True))
        ends = {
            None: z,
            "sigmoid": 1 / (1 + np.exp(-z)),
            "softmax": shifted / shifted.sum(axis=-1, keepdims=True),
            "log_softmax": np.log(shifted / shifted.sum(axis=-1, keepdims=True)),
        }
        require(name in ends, f"{name!r} is no final activation: softmax, log_softmax, sigmoid.")
        require_close(ends[name], b, f"{name} of the peeled output is not the model's output")


def missing_tiers_are_refused(case: AdapterCase) -> None:
    """Verbs beyond `supports` raise `CapabilityError`."""
    a, x = case.adapter, case.leaves
    verbs = {
        "vjp": (Tier.DIFFERENTIABLE, lambda: a.vjp(lambda v: (case.score(a.run(v)), None), x)),
        "custom_vjp": (Tier.DIFFERENTIABLE, lambda: a.custom_vjp(lambda v: v, lambda c, v: c)),
        "cut": (Tier.TRANSPARENT, lambda: a.cut(x, "layer")),
    }
    if not a.shows_layers:
        verbs["operations"] = Tier.TRANSPARENT, lambda: a.operations(x)
        verbs["run(intercept=)"] = Tier.TRANSPARENT, lambda: a.run(x, intercept=lambda op: op())
    if not a.shows_weights:
        verbs["weights"] = Tier.TRAINABLE, a.weights
    beyond = {name: verb for name, (tier, verb) in verbs.items() if tier > a.supports}
    if not beyond:
        raise Skipped("the adapter has every tier")
    for name, verb in beyond.items():
        try:
            verb()
        except CapabilityError:
            continue
        raise Broken(f"`{name}` is beyond the tier claimed and did not raise CapabilityError.")


def a_gradient_is_the_derivative(case: AdapterCase) -> None:
    """By central differences along directions; the best of four steps, for kinks and rounding."""
    case.needs(Tier.DIFFERENTIABLE)
    if not case.floats:
        raise Skipped("x has no input of real numbers")
    value, gradient = case.gradient()
    require_close(value, _scores(case, case.arrays), "the value of `vjp` is not that of `run`")
    rng = np.random.default_rng(0)
    for index in case.floats:
        a = case.arrays[index]
        require(
            gradient[index].shape == a.shape,
            f"the gradient of input {index} has shape {gradient[index].shape}, not {a.shape}.",
        )
        ways = [rng.standard_normal(a.shape).astype(a.dtype) for _ in range(2)]
        for way in (*ways, np.abs(ways[0]) * np.sign(gradient[index])):
            axes = tuple(range(1, a.ndim))
            slope = (gradient[index].astype(np.float64) * way).sum(axis=axes)
            size = np.sqrt((gradient[index].astype(np.float64) ** 2).sum(axis=axes))
            errors = []
            for step in (1e-2, 1e-3, 3e-4, 1e-4):
                ahead, behind = list(case.arrays), list(case.arrays)
                ahead[index] = (a + step * way).astype(a.dtype)
                behind[index] = (a - step * way).astype(a.dtype)
                moved = _scores(case, ahead) - _scores(case, behind)
                errors.append(np.abs(moved / (2 * step) - slope))
            allowed = 0.03 * np.maximum(np.abs(slope), size) + 1e-3 * np.abs(value).max()
            worst = float((np.min(errors, axis=0) / np.maximum(allowed, 1e-12)).max())
            require(
                worst <= 1,
                f"the gradient of input {index} is not the derivative of the score: along a"
                f" direction it is {worst:.1f} times as far from central differences as allowed.",
            )


def _scores(case: AdapterCase, arrays: tuple[np.ndarray, ...] | list[np.ndarray]) -> np.ndarray:
    out = case.score(case.adapter.run(case.native(arrays)))
    return np.asarray(case.adapter.to_numpy(out), dtype=np.float64)


def a_pullback_can_be_called_again(case: AdapterCase) -> None:
    """A pullback is linear, may be called again, and `aux` comes through."""
    case.needs(Tier.DIFFERENTIABLE)
    a, token = case.adapter, object()
    value, aux, pullback = a.vjp(lambda v: (case.score(a.run(v)), token), case.leaves)
    require(aux is token, "`vjp` did not hand `aux` through.")
    ones = a.xp.ones_like(value)
    first, again, twice = (
        [np.array(a.to_numpy(g)) for g in pullback(c)] for c in (ones, ones, ones + ones)
    )
    for one, other, double in zip(first, again, twice, strict=True):
        require_close(one, other, "a second call of the pullback gives another gradient", 1e-6)
        require_close(2 * one, double, "the pullback is not linear in its cotangent", 1e-5)


def what_is_not_used_has_a_zero_gradient(case: AdapterCase) -> None:
    """Inputs that are not used, or of whole numbers, get zeros of their shape."""
    case.needs(Tier.DIFFERENTIABLE)
    a = case.adapter
    whole = [i for i, array in enumerate(case.arrays) if array.dtype.kind != "f"]
    if len(case.leaves) == 1:
        raise Skipped("x has one input")
    kept = case.floats[0]
    _, _, pullback = a.vjp(lambda v: (_total(case, v[kept]), None), case.leaves)
    ones = a.xp.ones_like(_total(case, case.leaves[kept]))
    gradients = [np.array(a.to_numpy(g)) for g in pullback(ones)]
    _, through = case.gradient()
    for i, array in enumerate(case.arrays):
        require(gradients[i].shape == array.shape, f"the gradient of input {i} has another shape.")
        unused = i != kept and np.any(gradients[i] != 0)
        require(not unused, f"input {i} is not used, and has a gradient that is not zero.")
    for i in whole:
        require(
            through[i].shape == case.arrays[i].shape and not np.any(through[i] != 0),
            f"input {i} is of whole numbers, and has a gradient that is not zero.",
        )


def _total(case: AdapterCase, leaf):
    xp = case.adapter.xp
    return xp.sum(xp.reshape(leaf, (int(leaf.shape[0]), -1)), axis=1)


def stop_gradient_stops(case: AdapterCase) -> None:
    """d(x · stop_gradient(x))/dx = x."""
    case.needs(Tier.DIFFERENTIABLE)
    a, leaf = case.adapter, _a_float_leaf(case)
    still = a.to_numpy(a.stop_gradient(leaf))
    require_close(still, a.to_numpy(leaf), "`stop_gradient` changed the value", 0)
    value, _, pullback = a.vjp(
        lambda v: (_total(case, v[0] * a.stop_gradient(v[0])), None), (leaf,)
    )
    (found,) = pullback(a.xp.ones_like(value))
    require_close(
        a.to_numpy(found), a.to_numpy(leaf), "the derivative of x · stop_gradient(x) is not x", 1e-6
    )


def custom_vjp_is_obeyed(case: AdapterCase) -> None:
    """`custom_vjp` keeps the value and uses its own backward."""
    case.needs(Tier.DIFFERENTIABLE)
    a, leaf = case.adapter, _a_float_leaf(case)
    square = a.custom_vjp(lambda v: v * v, lambda cotangent, v: cotangent * 3 * v)
    value, _, pullback = a.vjp(lambda v: (_total(case, square(v[0])), None), (leaf,))
    array = np.asarray(a.to_numpy(leaf), dtype=np.float64)
    squares = (array**2).reshape(len(array), -1).sum(axis=1)
    require_close(a.to_numpy(value), squares, "`custom_vjp` changed the function", 1e-5)
    (found,) = pullback(a.xp.ones_like(value))
    require_close(a.to_numpy(found), 3 * array, "`custom_vjp` did not use its backward", 1e-6)


def _a_float_leaf(case: AdapterCase):
    if not case.floats:
        raise Skipped("x has no input of real numbers")
    return case.leaves[case.floats[0]]
