"""The methods, each written once for every framework. Importing this registers them."""

from importlib.util import find_spec

import pellucid.methods.attention.attention
import pellucid.methods.attention.rollout
import pellucid.methods.backward.deep_shap
import pellucid.methods.backward.deeplift
import pellucid.methods.backward.guided
import pellucid.methods.cam.ablationcam
import pellucid.methods.cam.eigencam
import pellucid.methods.cam.gradcam
import pellucid.methods.cam.gradcam_plus_plus
import pellucid.methods.cam.hirescam
import pellucid.methods.cam.layercam
import pellucid.methods.cam.scorecam
import pellucid.methods.cam.xgradcam
import pellucid.methods.controls.controls
import pellucid.methods.gradient.blur_integrated_gradients
import pellucid.methods.gradient.expected_gradients
import pellucid.methods.gradient.guided_integrated_gradients
import pellucid.methods.gradient.integrated_gradients
import pellucid.methods.gradient.noise
import pellucid.methods.gradient.saliency
import pellucid.methods.inside.activations
import pellucid.methods.inside.tree_values
import pellucid.methods.perturbation.feature_permutation
import pellucid.methods.perturbation.interactions
import pellucid.methods.perturbation.lime
import pellucid.methods.perturbation.occlusion
import pellucid.methods.perturbation.partition
import pellucid.methods.perturbation.rise
import pellucid.methods.perturbation.sensitivity
import pellucid.methods.perturbation.shapley
import pellucid.methods.perturbation.tree_shap
from pellucid.methods.registry import seal_built_in

if find_spec("pellucid.methods.backward.rules") is not None:
    # LRP may be covered by patents in some countries: a packager may leave its room out.
    import pellucid.methods.backward.excitation_backprop
    import pellucid.methods.backward.lrp  # noqa: F401

seal_built_in()
