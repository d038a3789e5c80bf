"""A `While` of a traced model: performed as a loop, or unrolled for who wants to see inside."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import tensorflow as tf

from pellucid.adapters.tensorflow.graph import Program
from pellucid.adapters.tensorflow.raw import Perform, function_graph

Body = tuple[Program, tuple[int, ...]]
"""A function graph's program, and the numbers of its arguments."""


class Loop:
    """What a `While` operation does, as a function of its inputs.

    `condition` and `turn` are its two functions, `body` the program of the latter; `compiled`
    makes one function of a loop.
    """

    def __init__(
        self,
        condition: Perform,
        turn: Perform,
        body: Body,
        compiled: Callable[[Perform], Perform],
        operation: tf.Operation,
    ) -> None:
        self._condition, self._turn, self._body = condition, turn, body
        graph = function_graph(operation.graph, operation.get_attr("body").name)
        # What the body hands on unchanged (weights among it) must not be a variable of the new
        # loop.
        pairs = enumerate(zip(graph.inputs, graph.outputs, strict=True))
        self._changing = [i for i, (before, after) in pairs if before is not after]
        self._shapes = [graph.inputs[i].shape for i in self._changing]
        self._whole = compiled(self._run)
        self._rewritten: dict[Any, Program] = {}

    def __call__(self, inputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        return self._filled(inputs, self._whole(inputs))

    def goes_on(self, inputs: Sequence[tf.Tensor]) -> bool:
        """Whether there is another turn; known outside of a trace only."""
        return bool(self._condition(inputs)[0])

    def body_with(self, live: Sequence[bool], handles: Mapping[int, Any]) -> Program:
        """The program of one turn, in which the arguments that are or get live are its inputs.

        `handles` are those of variables, by the place of the argument they come in by.
        """
        program, arguments = self._body
        alive = list(live)
        while True:
            inputs = tuple(a for a, is_live in zip(arguments, alive, strict=True) if is_live)
            held = {arguments[place]: handle for place, handle in handles.items()}
            found = replace(program, inputs=inputs, captures={**program.captures, **held})
            after = [a or o in found.live for a, o in zip(alive, found.outputs, strict=True)]
            if after == alive:
                return found
            alive = after

    def body_for_rules(
        self,
        live: Sequence[bool],
        handles: Mapping[int, Any],
        rewritten: Callable[[Program], Program],
    ) -> Program:
        """`body_with`, rewritten for rules; made once, and kept with the loop."""
        key = tuple(live), tuple(sorted((place, id(h)) for place, h in handles.items()))
        if key not in self._rewritten:  # which holds the handles, so that their ids stay theirs
            self._rewritten[key] = rewritten(self.body_with(live, handles))
        return self._rewritten[key]

    def given(self, inputs: Sequence[tf.Tensor]) -> dict[int, tf.Tensor]:
        """The values of the body's arguments, by their numbers."""
        return dict(zip(self._body[1], inputs, strict=True))

    def _filled(
        self, inputs: Sequence[tf.Tensor], variables: Sequence[tf.Tensor]
    ) -> list[tf.Tensor]:
        everything = list(inputs)
        for place, value in zip(self._changing, variables, strict=True):
            everything[place] = value
        return everything

    def _run(self, inputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        def once(*variables: tf.Tensor) -> list[tf.Tensor]:
            results = self._turn(self._filled(inputs, variables))
            return [
                _shaped(results[i], shape)
                for i, shape in zip(self._changing, self._shapes, strict=True)
            ]

        def on(*variables: tf.Tensor) -> tf.Tensor:
            return tf.reshape(self._condition(self._filled(inputs, variables))[0], ())

        return tf.while_loop(
            on, once, [inputs[i] for i in self._changing], shape_invariants=self._shapes
        )


def _shaped(tensor: tf.Tensor, shape: tf.TensorShape) -> tf.Tensor:
    """What the trace knew of a shape, told again: reading from a list of tensors forgets it."""
    if not tf.executing_eagerly():
        tensor.set_shape(shape)
    return tensor
