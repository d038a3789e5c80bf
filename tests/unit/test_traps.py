"""Every known trap of reading a model stands as a test: what one would see, and where it is shown.

The tests named here are looked up, so the list stays true.
"""

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TRAPS: dict[str, dict[str, tuple[str, ...]]] = {
    "TensorFlow, Keras and TensorLayer": {
        "`Can not convert a NoneType` after a training step of TensorLayer's batch norm": (
            "test_adapter_tensorlayer.py::test_batch_norm_after_a_training_step_is_traced",
            "test_adapter_tensorlayer.py::test_new_statistics_are_seen_by_a_trace_made_before",
        ),
        "gradient None through operations made again": (
            "test_tensorflow_traps.py::test_operations_done_again_are_seen_by_a_tape",
        ),
        "`out of scope` from custom gradients, or their own derivative lost": (
            "test_adapter_tensorflow.py::test_custom_gradients_are_kept_everywhere",
            "test_adapter_tensorflow.py::test_silu_is_seen_as_its_parts",
        ),
        "a probe on a dropout moves the residual branch too": (
            "test_tensorflow_traps.py::test_a_probe_on_dropout_leaves_the_residual_branch_alone",
            "test_adapter_tensorlayer.py"
            "::test_dropout_at_inference_does_not_join_a_probe_to_the_residual",
        ),
        "a loop's outputs count as constants, and its operations pass without a rule": (
            "test_tensorflow_traps.py"
            "::test_what_comes_out_of_a_loop_is_live_and_the_loop_is_opaque",
        ),
        "of several outputs only the first counts as live": (
            "test_tensorflow_traps.py::test_every_output_of_an_operation_with_several_is_live",
        ),
        "warnings of retracing where each function is traced once": (
            "test_tensorflow_traps.py"
            "::test_no_warning_of_retracing_where_each_function_is_traced_once",
        ),
        "grouped convolutions hidden in a compiled call": (
            "test_tensorflow_traps.py::test_grouped_convolutions_inside_xla_are_opened",
        ),
        "the activation of a layer shown as the next layer's": (
            "test_tensorflow_traps.py"
            "::test_the_activation_of_a_layer_is_its_own_operation_not_the_next_layers",
        ),
        "a float64 array makes a second trace": (
            "test_tensorflow_traps.py::test_float64_arrays_do_not_make_a_second_trace",
        ),
        "a dropout fixed in training mode draws numbers": (
            "test_tensorflow_traps.py"
            "::test_a_dropout_fixed_in_training_mode_is_off_and_no_random_state_moves",
        ),
    },
    "torch": {
        "an in-place ReLU not seen, or what looks through a view left behind": (
            "test_torch_traps.py::test_in_place_operations_are_seen_as_ordinary_ones",
        ),
        "operators and methods not seen: `1 - x` is `__rsub__`": (
            "test_torch_traps.py::test_operators_and_methods_are_operations",
        ),
        "`.mT` skipped as metadata": (
            "test_torch_traps.py::test_properties_that_make_a_tensor_are_operations",
        ),
        "comparisons, sizes and new tensors on the path of the input": (
            "test_torch_traps.py::test_sources_are_not_live",
        ),
        "`tuple index out of range` where arguments come by name": (
            "test_torch_traps.py::test_arguments_are_found_whether_by_name_or_by_position",
        ),
        "a bias inside the linear operation it belongs to": (
            "test_adapter_torch.py"
            "::test_an_operation_can_be_called_with_other_inputs_and_without_its_bias",
        ),
        "attention in one fused call that shows nothing": (
            "test_torch_traps.py::test_attention_leaves_its_fast_path",
        ),
        "an LSTM in one call, with its weights as a flat list": (
            "test_torch_traps.py::test_recurrent_layers_are_one_operation_that_is_named_so",
            "test_inputs_outputs.py::test_recurrent_networks_are_explained_in_evaluation_mode",
        ),
        "whole numbers have no gradient: the path starts above the embedding": (
            "../agreement/test_layers.py::test_whole_numbers_are_explained_at_the_layer_above_them",
            "test_adapter_torch.py::test_integer_leaves_get_zeros",
        ),
        "checkpointed parts run again without their gradients": (
            "test_torch_traps.py::test_checkpointed_parts_have_their_gradients",
        ),
        "what is put inside an `autograd.Function` is thrown away silently": (
            "test_torch_traps.py::test_custom_gradients_are_kept_and_their_insides_untracked",
            "test_torch_traps.py::test_a_block_without_gradients_is_untracked",
        ),
        "scripted modules show no operation and refuse hooks": (
            "test_adapter_torch.py::test_scripted_modules_are_refused",
        ),
        "seconds of compiling when a compiled part is read": (
            "test_torch_traps.py::test_a_compiled_part_is_read_without_compiling",
            "test_torch_traps.py::test_a_compiled_function_inside_a_model",
        ),
        "paths that begin with `module.` or `_orig_mod.`": (
            "test_adapter_torch.py::test_wrappers_are_looked_through",
            "test_inputs_outputs.py::test_compiled_modules_are_read_from_the_module_inside",
        ),
        "`vmap` inside the model hides which tensors come from the input": (
            "test_torch_traps.py::test_transformations_inside_the_model",
        ),
        "no gradient of a quantised model": (
            "test_torch_traps.py::test_quantised_models_can_be_run_only",
        ),
        "`module.weight` is not the weight used under weight norm": (
            "test_torch_traps.py::test_normalised_weights_are_those_used",
        ),
        "pellucid's own operations among the model's, every index shifted by one": (
            "test_adapter_torch.py::test_operations_pass_through_unchanged",
        ),
        "a second name of a module unknown": (
            "test_adapter_torch.py::test_alias_names_of_one_module",
        ),
        "two calls of one layer taken for one": (
            "test_adapter_torch.py::test_layers_count_calls_and_shapes",
        ),
        "tensors, cycles and hooks left after a call": (
            "test_torch_traps.py::test_many_calls_leave_nothing_behind",
        ),
        "hooks and modes left after an exception": (
            "test_adapter_torch.py::test_nothing_changes_when_the_model_raises",
            "test_adapter_torch.py::test_an_exception_in_an_interceptor_leaves_no_hook",
        ),
        "`requires_grad`, `grad` or weights of the user's changed": (
            "test_adapter_torch.py::test_nothing_of_the_user_s_changes",
        ),
        "operations of another thread among the model's": (
            "test_torch_traps.py::test_other_threads_operations_are_not_seen",
            "test_adapter_torch.py::test_threads_do_not_see_each_other",
        ),
        "a first layer that works in place changes the user's x, or raises": (
            "test_adapter_torch.py::test_a_first_layer_that_works_in_place_does_not_change_the_input",
        ),
        "statistics and dropout move by merely running in training mode": (
            "test_inputs_outputs.py"
            "::test_a_module_in_training_mode_is_explained_in_evaluation_mode",
        ),
        "`does not require grad` inside the caller's no_grad or inference_mode": (
            "test_torch_traps.py::test_callers_without_gradients_get_the_same",
            "test_adapter_torch.py::test_gradients_inside_the_user_s_no_grad",
        ),
        "gradients flow into the graph that x came out of": (
            "test_torch_traps.py::test_tensors_of_the_user_s_own_graph_get_no_gradient",
        ),
        "a head of zeros makes every map agree": (
            "../external/test_architectures_torch.py::prepared",
        ),
    },
    "JAX": {
        "`too many values to unpack` from another version's bind parameters": (
            "test_adapter_jax.py::test_calls_with_bind_parameters_of_either_form",
        ),
        "GELU, SiLU and others fall apart into unnamed arithmetic": (
            "test_adapter_jax.py::test_an_activation_is_one_operation",
        ),
        "a softmax hidden among reductions": (
            "test_adapter_jax.py::test_final_activation_is_found_and_taken_off",
            "test_adapter_jax.py::test_only_the_returned_softmax_is_taken_off",
        ),
        "a bias taken for a residual": (
            "test_adapter_jax.py::test_a_bias_before_an_activation_stays_a_bias",
        ),
        "NNX modules leave no names in a trace": (
            "test_adapter_jax.py::test_layers_have_paths_shapes_and_parameters",
        ),
        "NNX's classes patched for good after an exception": (
            "test_adapter_jax.py::test_nothing_changes_when_the_model_raises",
        ),
        "recurrent NNX modules: `Cannot extract graph node from different trace level`": (
            "test_inputs_outputs_jax.py::test_recurrent_networks",
        ),
        "a loop's inside passes without a rule": (
            "test_adapter_jax.py::test_loops_are_opaque_and_run",
        ),
        "weights closed over are taken as they were when first traced": (
            "test_adapter_jax.py::test_a_function_that_closes_over_changed_weights_is_read_anew",
        ),
    },
    "Backward rules": {
        "γ of one line divides by almost nothing: 147 where it should be 0.98": (
            "test_rule_traps.py"
            "::test_gamma_is_bounded_where_its_one_line_form_divides_by_almost_nothing",
            "test_relevance.py::test_z_plus_and_box_by_hand",
        ),
        "relevance of 1e14 behind a gate whose signal is almost zero": (
            "test_rule_traps.py"
            "::test_relevance_does_not_explode_at_a_gate_whose_signal_is_almost_zero",
            "test_relevance.py::test_the_signal_takes_all_from_its_gate",
        ),
        "a fixed ε takes what small logits are made of": (
            "test_rule_traps.py::test_epsilon_goes_by_the_size_of_what_a_layer_has",
        ),
        "sums that are right over maps that are not": (
            "../agreement/test_lrp.py::test_every_rule_agrees_with_relevance_handed_down",
            "../agreement/test_lrp.py::test_composites_agree_and_the_gap_is_what_the_layers_keep",
        ),
        "Δy / Δx is rounding or 0 / 0 where input and reference meet": (
            "test_rule_traps.py"
            "::test_deeplift_takes_the_derivative_where_input_and_reference_almost_meet",
        ),
        "the gradient of a product of two live values leaves some of f(x) - f(x') out": (
            "test_rule_traps.py::test_a_product_of_two_live_values_needs_a_rule",
            "../agreement/test_keras_per_layer.py::test_deep_shap_adds_up_on",
        ),
        "max-pools do not add up": (
            "../agreement/test_backward.py::test_deeplift_agrees_with_the_tape_and_adds_up",
            "../external/test_backward_peers.py::test_captum_s_max_pools_do_not_add_up_and_ours_do",
        ),
        "ReLUs in place, used twice or as functions keep their own derivative": (
            "test_rule_traps.py"
            "::test_rules_reach_what_looks_through_a_view_of_a_value_changed_in_place",
            "../external/test_backward_peers.py::test_relus_used_twice_or_in_line",
            "../external/test_backward_peers.py"
            "::test_functional_relus_are_invisible_to_captum_and_not_to_us",
        ),
        "a reference stacked on the batch breaks where axes are merged or time comes first": (
            "../agreement/test_keras_per_layer.py::test_deep_shap_adds_up_on",
            "../agreement/test_recurrent_rules.py::test_keras",
        ),
        "a gap of 3.1 and no error on an LSTM whose loop no rule sees into": (
            "../agreement/test_recurrent_rules.py::test_keras",
            "../agreement/test_recurrent_rules.py::test_torch",
            "../agreement/test_recurrent_rules.py::test_flax",
        ),
        "what has no rule passes silently": (
            "test_coverage.py::test_what_has_no_rule_is_named_and_refused",
            "test_coverage.py::test_the_gradient_in_place_of_a_rule_is_said_wherever_it_shows",
        ),
    },
}
NAMED = [
    (trap, test) for traps in TRAPS.values() for trap, tests in traps.items() for test in tests
]


@pytest.mark.parametrize(("trap", "test"), NAMED)
def test_the_test_of_a_trap_is_there(trap, test):
    file, _, name = test.partition("::")
    text = (HERE / file).read_text("utf-8")
    assert re.search(rf"^def {name}\(", text, re.MULTILINE), f"{trap}: {test} is gone"
