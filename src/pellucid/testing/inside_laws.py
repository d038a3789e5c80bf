"""The laws of an adapter that can be opened: layers, operations, cuts, weights."""

import numpy as np

from pellucid.adapters.derived import layer_gradient, patch, record
from pellucid.adapters.protocol import Operation, Tier
from pellucid.testing.adapter_case import AdapterCase
from pellucid.testing.laws import Skipped, require, require_close
from pellucid.types import Array

KINDS = frozenset(
    {
        "linear", "bias", "activation", "norm", "softmax", "attention", "pool", "mul", "add",
        "route", "rnn", "lookup", "composite", "other", "opaque", "custom_gradient", "untracked",
        "detached",
    }
)  # fmt: skip
"""The kinds of operations that rules know."""


def layers_have_one_path_a_call(case: AdapterCase) -> None:
    """Every call of a layer has its own path, `path#2` for a second one."""
    case.needs(Tier.TRANSPARENT)
    calls, tree = case.adapter.layers(case.leaves), case.adapter.layers()
    if not calls:
        raise Skipped("this model shows no layers")
    paths = [c.path for c in calls]
    require(len(set(paths)) == len(paths), f"two calls have the same path: {sorted(paths)}.")
    known = {c.path for c in tree}
    for path in paths:
        base, mark, number = path.partition("#")
        # A plain function of a framework learns of its layers by being run.
        listed = not known or base in known
        require(listed, f"the call {path!r} is of no layer that `layers()` lists.")
        if mark:
            earlier = base if number == "2" else f"{base}#{int(number) - 1}"
            require(earlier in paths, f"there is a call {path!r} and no {earlier!r}.")
    orders = [c.order for c in calls]
    require(orders == sorted(set(orders)), "`order` does not rise from call to call.")
    shown = [c.path for c in calls if c.shape is None]
    require(not shown, f"after a run the shape of {shown[:3]} is not known.")


def operations_are_listed(case: AdapterCase) -> None:
    """The inventory of a run names known kinds, in order, the same every time."""
    case.needs(Tier.TRANSPARENT)
    found = case.adapter.operations(case.leaves)
    require(found, "`operations` lists nothing.")
    strange = sorted({o.kind for o in found} - KINDS)
    require(not strange, f"no rule knows the kinds {strange}; one of {sorted(KINDS)} is expected.")
    indices = [o.index for o in found]
    require(indices == sorted(set(indices)), "`index` does not rise from operation to operation.")
    require(
        any(any(o.live) for o in found), "no operation is said to depend on the model's inputs."
    )
    require(
        {o.index: o.kind for o in found}
        == {o.index: o.kind for o in case.adapter.operations(case.leaves)},
        "a second inventory of the same run differs from the first.",
    )


def looking_changes_nothing(case: AdapterCase) -> None:
    """An interceptor that only performs changes nothing, and sees everything."""
    case.needs(Tier.TRANSPARENT)
    seen: list[str] = []

    def look(op: Operation) -> Array:
        seen.append(op.kind)
        return op()

    paths = [c.path for c in case.adapter.layers(case.leaves)]
    looked_at = case.run(intercept=look, layers=paths, peel=False)
    for a, b in zip(looked_at, case.run(peel=False), strict=True):
        require_close(a, b, "a run that is looked at gives other outputs", 1e-5)
    live = [o for o in case.adapter.operations(case.leaves) if any(o.live)]
    shown = len(seen) - seen.count("layer")
    require(
        shown >= len(live), f"`intercept` saw {shown} operations, the inventory has {len(live)}."
    )
    require(
        seen.count("layer") == len(paths),
        f"`intercept` saw {seen.count('layer')} exits of {len(paths)} layers asked for.",
    )


def a_patched_layer_is_obeyed(case: AdapterCase) -> None:
    """Recording changes nothing; a value put in a layer's place reaches the outputs."""
    case.needs(Tier.TRANSPARENT)
    a, x = case.adapter, case.leaves
    reacts = []
    for path in case.layers:
        outputs, values = record(a, x, [path])
        for one, other in zip(case.numpy(outputs), case.run(), strict=True):
            require_close(one, other, f"recording {path!r} changes the outputs", 1e-5)
        same = case.numpy(patch(a, x, values))
        for one, other in zip(same, case.run(), strict=True):
            require_close(one, other, f"{path!r} patched with its own value changes outputs", 1e-5)
        moved = case.numpy(patch(a, x, {path: values[path] * 0.5 + 1}))
        reacts.append(any(not np.array_equal(p, q) for p, q in zip(moved, same, strict=True)))
    require(any(reacts), f"patching {case.layers} with other values never changes the outputs.")


def a_cut_is_the_model(case: AdapterCase) -> None:
    """`cut.value` is what the layer returns and `cut.run(cut.value)` what the model does."""
    case.needs(Tier.TRANSPARENT)
    for path in case.layers:
        cut = case.adapter.cut(case.leaves, path)
        recorded = record(case.adapter, case.leaves, [path])[1][path]
        require_close(
            case.adapter.to_numpy(cut.value),
            case.adapter.to_numpy(recorded),
            f"the value of a cut at {path!r} is not what the layer returns",
            1e-5,
        )
        for a, b in zip(case.numpy(cut.outputs), case.run(), strict=True):
            require_close(a, b, f"the outputs of a cut at {path!r} are not the model's", 1e-5)
        for a, b in zip(case.numpy(cut.run(cut.value)), case.run(), strict=True):
            require_close(a, b, f"`cut.run(cut.value)` at {path!r} is not the model's output", 1e-5)


def a_cut_takes_variants(case: AdapterCase) -> None:
    """K rows of each sample, all of one sample's together."""
    case.needs(Tier.TRANSPARENT)
    a, factors = case.adapter, np.array([1.0, 0.5, 0.0])
    path = case.layers[-1]
    cut = a.cut(case.leaves, path)
    value = np.asarray(a.to_numpy(cut.value))
    scaled = [(value * f).astype(value.dtype) for f in factors]
    mixed = np.stack(scaled, axis=1).reshape(-1, *value.shape[1:])
    together = case.numpy(cut.run(a.asarray(mixed)))
    for k, part in enumerate(scaled):
        alone = case.numpy(cut.run(a.asarray(part)))
        for many, one in zip(together, alone, strict=True):
            require(
                len(many) == len(mixed), f"{len(mixed)} variants at {path!r} gave {len(many)} rows."
            )
            require_close(
                many[k::3], one, f"variant {k} at {path!r} is not what it is by itself", 1e-5
            )


def a_zero_probe_finds_the_gradient_at_a_layer(case: AdapterCase) -> None:
    """The gradient by a zero probe is the gradient through a cut."""
    case.needs(Tier.TRANSPARENT)
    a = case.adapter
    for path in case.layers:
        value, probed = layer_gradient(a, case.leaves, path, case.score)
        cut = a.cut(case.leaves, path)
        score, _, pullback = a.vjp(
            lambda v, cut=cut: (case.score(cut.run(v[0])), None), (cut.value,)
        )
        through = pullback(a.xp.ones_like(score))[0]
        require(tuple(value.shape) == tuple(probed.shape), f"the probe at {path!r} has no shape.")
        require_close(
            a.to_numpy(probed),
            a.to_numpy(through),
            f"the gradient at {path!r} by a probe is not that through a cut",
        )


def weights_are_those_of_the_run(case: AdapterCase) -> None:
    """`run(weights=)` uses them, and only for that run."""
    case.needs(Tier.TRAINABLE)
    a, before = case.adapter, case.run()
    weights = a.weights()
    require(weights, "`weights` lists nothing.")
    for one, other in zip(case.run(weights=weights), before, strict=True):
        require_close(one, other, "a run with the model's own weights is another run", 1e-5)
    name = next(iter(weights))
    require(
        set(a.weights(lambda n: n == name)) == {name}, "`weights(select)` does not select by name."
    )
    reacts = []
    for name, weight in weights.items():
        if np.asarray(a.to_numpy(weight)).dtype.kind == "f":
            moved = case.run(weights={name: weight * 0.5 + 0.25})
            reacts.append(any(not np.array_equal(p, q) for p, q in zip(moved, before, strict=True)))
    require(any(reacts), "other weights never change the outputs.")
    for one, other in zip(case.run(), before, strict=True):
        require_close(one, other, "a run with other weights changed the model", 3e-6)
